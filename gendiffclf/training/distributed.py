"""
The processes of a launched group, which train one model: each has a part of every batch, and their gradients are summed.

Everything else every process does alike, from the same seed: batches, the optimiser's steps, the choice of the best step. Times,
noise and dropout are each process' own.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, distributed, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ..device import in_process_group, resolve_device
from ..validation import shown

T = TypeVar("T")

_DEVICES = {"gloo": ("cpu", "cuda"), "nccl": ("cuda",)}
"""Whose tensors a backend carries; of other backends it is unknown."""
_OWN = ("device", "random_state", "verbose")
"""Parameters that processes may differ in: the first one's seed is everyone's."""
_HASHED_BYTES = 2**24


@dataclass(frozen=True)
class Processes:
    """
    The `count` processes that train one model, of which this has the number `rank`.

    One alone has no group, and everything here leaves it as it is.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def launched(cls, distributed_fit: bool) -> Processes:
        """Those of torch's default process group, if they are asked for; a ValueError if there is none."""
        if not distributed_fit:
            return cls()
        if not in_process_group():
            raise ValueError(
                "Got distributed=True without a process group, expected torch.distributed.init_process_group before fit; "
                "start processes with torchrun, or use distributed=False."
            )
        return cls(distributed.get_rank(), distributed.get_world_size())

    def part(self, n_rows: int) -> slice:
        """Which of so many rows are the process' own: neighbours, and as many as any other's up to one."""
        return slice(n_rows * self.rank // self.count, n_rows * (self.rank + 1) // self.count)

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over processes, in place, the same to the last bit in all of them."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def summed_gradients(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """
        Their sums over processes, in one exchange.

        DistributedDataParallel would overlap it with the backward pass; networks here are small.
        """
        if self.count > 1:
            vector_to_parameters(self.summed(parameters_to_vector(gradients)), gradients)
        return list(gradients)

    def gathered(self, value: T) -> list[T]:
        """The value that each process has here; small."""
        if self.count == 1:
            return [value]
        device = resolve_device("cuda" if distributed.get_backend() == "nccl" else "cpu")
        own = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8).to(device)
        size = torch.tensor([len(own)], device=device)
        sizes = [torch.empty_like(size) for _ in range(self.count)]
        distributed.all_gather(sizes, size)
        longest = int(max(sizes))
        padded = nn.functional.pad(own, (0, longest - len(own)))
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        distributed.all_gather(parts, padded)
        _wait_for_release([size, *sizes, padded, *parts])
        return [pickle.loads(part[:n].cpu().numpy().tobytes()) for n, part in zip(map(int, sizes), parts, strict=True)]

    def first(self, value: T) -> T:
        """The value of the first process."""
        return self.gathered(value)[0]

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of the first process; processors of two kinds may round differently."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    @staticmethod
    def _check_device(name: str) -> None:
        """Raise a ValueError if the group cannot exchange tensors on that device."""
        backend, device = distributed.get_backend(), resolve_device(name)
        allowed = _DEVICES.get(backend, (device.type,))
        if device.type not in allowed:
            raise ValueError(
                f"Got device={name!r} in a process group of backend {backend!r}, expected {' or '.join(allowed)}; use another "
                "device, or another backend in init_process_group."
            )

    @contextlib.contextmanager
    def agreement(self, estimator: BaseEstimator) -> Iterator[dict[str, Any]]:
        """
        Raise in every process where the block raises in one, or where they differ in what it puts into the dictionary.

        A process that failed alone would leave the others waiting for it. Values are arrays, tensors, what `repr` tells apart,
        or lists of these; the parameters of the estimator must be the same too, and its device one whose tensors the group can
        exchange.
        """
        params = estimator.get_params(deep=False)
        shared: dict[str, Any] = {name: value for name, value in params.items() if name not in _OWN}
        if self.count == 1:
            yield shared
            return
        failure = None
        try:
            yield shared
            self._check_device(params["device"])
        except Exception as error:
            failure = error
        found = self.gathered(None if failure else {name: _word(value) for name, value in shared.items()})
        if failure:
            raise failure
        if None in found:
            raise RuntimeError(
                f"Got an error in process {found.index(None)} while it checked its input, expected the same input in all "
                f"{self.count}; see what that process says."
            )
        first, *others = (words or {} for words in found)
        for rank, words in enumerate(others, start=1):
            for name, word in first.items():
                if words[name] != word:
                    raise ValueError(
                        f"Got {name}{words[name]} in process {rank} and {name}{word} in process 0, expected the same in "
                        f"all {self.count}; give all rows and the same parameters to each: they share every batch themselves."
                    )


def _wait_for_release(tensors: Sequence[Tensor]) -> None:
    """
    Return when nothing but their names holds tensors.

    A thread of "gloo" lets go of the tensors of an exchange a little after the call returns. It needs the interpreter's lock for
    that, and one that asks for it while the interpreter ends aborts the process.
    """
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline and any(x._use_count() > 1 for x in tensors):  # type: ignore[attr-defined]
        time.sleep(1e-4)


def _word(value: Any) -> str:
    """What tells a value from others, short for arrays."""
    if not isinstance(value, list | np.ndarray):
        return f"={shown(value)}"
    digest = hashlib.sha256()
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Tensor):
            item = item.detach().cpu().numpy()
        if isinstance(item, np.ndarray) and item.dtype != object:
            digest.update(f"{item.dtype} {item.shape}".encode())
            step = max(1, _HASHED_BYTES // max(1, item[:1].nbytes))  # rows may be on disk
            for start in range(0, len(item), step):
                digest.update(np.ascontiguousarray(item[start : start + step]).data)
        else:
            digest.update(repr(item.tolist() if isinstance(item, np.ndarray) else item).encode())
    return f" of checksum {digest.hexdigest()[:16]}"
