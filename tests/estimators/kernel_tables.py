"""Tables and settings for the tests of the kernel."""

import numpy as np
import torch

from gendiffclf.estimators.ridge import KernelSettings

GAUSSIAN = KernelSettings("gaussian", 0, 0.1, (2.0,), (1.0,))
SETTINGS = [GAUSSIAN, KernelSettings("laplacian", 0, 0.03, (6.0,), (1.0,))]
CLOSE = {"rtol": 0, "atol": 1e-8}
GROUPS = {
    "pairs": lambda n: np.arange(n) // 2,
    "few": lambda n: np.arange(n) * 7 % 3,
    "one": lambda n: np.zeros(n, int),
}


def table(n: int = 60, d: int = 4, n_layers: int = 1, dtype=torch.float64, seed: int = 0):
    """Rows (n, layers, d), one-hot targets (n, K) and weights (n,) of mean 1."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=generator)
    rows = torch.randn(n, n_layers, d, generator=generator, dtype=torch.float64)
    rows[:, :, 0] += y[:, None]
    weight = torch.rand(n, generator=generator, dtype=torch.float64) + 0.2
    return rows.to(dtype), torch.nn.functional.one_hot(y, 3).double(), weight / weight.mean()


def weighted_mean(targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return weight @ targets / weight.sum()


class Counted:
    """Rows in memory that note how many are asked for at a time."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows, self.sizes = rows, []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> torch.Tensor:
        found = self.rows[index]
        self.sizes.append(len(found))
        return found
