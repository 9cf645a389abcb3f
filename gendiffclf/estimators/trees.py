"""Gradient-boosted trees: steps along single features, which smooth estimators learn slowly (Friedman 2001).

Kernel and network are smooth: thresholds, and single values that mean something of their own, take them many rows. Trees are the
opposite, and err elsewhere, so that a product of both is better than either. scikit-learn grows them
(`HistGradientBoostingClassifier`); as tensors they run on every device and are saved with everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from .combination import LEAST_PROBABILITY, pooled_loss
from .training_rows import TrainingRows

LEAST_ROWS, MOST_ROWS = 500, 100_000
"""Fewest rows with which trees join the other estimators, and most rows that they learn from."""
MOST_FEATURES, MOST_SPLITS = 200, 400
"""Features, and features times trees of an iteration, at most. Single features of embeddings tell little, and cost as much."""
N_LEVELS = 255
"""Of a feature, which its values are rounded to: as many as scikit-learn tells apart."""
SETTINGS = {"learning_rate": 0.1, "max_leaf_nodes": 15, "max_depth": 8, "max_features": 0.5, "l2_regularization": 1.0}
ITERATIONS, LEAST_TREES = (60, 90, 135, 200, 300, 450, 675, 1000), 120
"""Numbers of iterations, one after the other while the product gains on held-out rows, from so many trees on."""
LEAST_GAIN = 2.0
"""Of the summed logarithmic loss, in nats: a likelihood-ratio test would call as much for one exponent more significant."""


@dataclass(frozen=True)
class TreesEstimator:
    """
    Fitted trees on the first scaling of a row of one layer, their nodes side by side.

    Attributes
    ----------
    roots : Tensor of shape (iterations * C,), int64
        The first node of each tree. C is the number of classes that it was fitted to, or 1 for two of them.
    feature, left, right : Tensor of shape (nodes,), int64
        The feature that a node asks for, and where it leads. A leaf leads to itself.
    threshold : Tensor of shape (nodes,), of the precision of the fit
        Values up to it lead to the left.
    value : Tensor of shape (nodes,)
        What a leaf adds to the logit of its tree's class.
    baseline : Tensor of shape (C,)
        Logits without trees.
    column : Tensor of shape (K,), int64
        The place of each class among those that it was fitted to; -1 for one that came later, as probable as the likeliest.
    depth : int
        Steps from a root to the farthest leaf.
    """

    roots: Tensor
    feature: Tensor
    left: Tensor
    right: Tensor
    threshold: Tensor
    value: Tensor
    baseline: Tensor
    column: Tensor
    depth: int

    def to(self, like: Tensor | str) -> TreesEstimator:
        """A copy on a tensor's device and in its precision, or on the device named."""
        device = like if isinstance(like, str) else like.device
        moved: dict[str, Any] = {name: x.to(device) for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **{**moved, "value": self.value.to(like), "baseline": self.baseline.to(like)})

    def estimate(self, rows: Tensor) -> Tensor:
        """Class probabilities, which are coordinates of x̂0 along the codes, (B, views, d) -> (B, K)."""
        rows = rows[:, 0]
        node = self.roots.expand(rows.shape[0], -1)  # (B, T)
        for _ in range(self.depth):
            above = rows.gather(1, self.feature.take(node)) > self.threshold.take(node)
            node = torch.where(above, self.right.take(node), self.left.take(node))
        logits = self.baseline + self.value.take(node).unflatten(1, (-1, len(self.baseline))).sum(1)
        if len(self.baseline) == 1:
            logits = torch.nn.functional.pad(logits, (1, 0))
        probabilities = torch.softmax(logits, dim=-1)
        return torch.cat([probabilities, probabilities.amax(1, keepdim=True)], dim=1)[:, self.column]

    def with_classes(self, order: np.ndarray) -> TreesEstimator:
        """With new classes, which come last before they are put in this order, (K,)."""
        column = torch.nn.functional.pad(self.column, (0, len(order) - len(self.column)), value=-1)
        return replace(self, column=column[torch.as_tensor(order, device=column.device)])


def suitable(data: TrainingRows, n_views: int) -> bool:
    """Whether trees are worth their time for these rows (n, views * layers, d), which are in memory."""
    if not isinstance(data.rows, Tensor) or data.rows.shape[1] != n_views or len(data) < LEAST_ROWS:
        return False
    n_features = data.rows.shape[2]
    return n_features <= MOST_FEATURES and n_features * _trees_of_an_iteration(data) <= MOST_SPLITS


def _trees_of_an_iteration(data: TrainingRows) -> int:
    n_classes = data.targets.shape[1]
    return 1 if n_classes == 2 else n_classes


def fit_trees(
    data: TrainingRows,
    validation: np.ndarray,
    fold: np.ndarray,
    beside: Tensor,
    evidence: Tensor,
    seed: int,
    is_short_of: Callable[[float], bool],
) -> tuple[TreesEstimator, Tensor] | None:
    """
    Fit trees to rows (n, views, d), and others to those outside of each fold, with probabilities (v, K) of its rows by these.

    None if a product with them would not be better than what other estimators say of these rows, `beside` (v, K), or if a fold
    has all rows of all classes but one.

    The rows of numbers `validation` (v,) are in the folds `fold` (v,), and `evidence` (v,) are their weights as of `combine`.
    Iterations end early where time `is_short_of` the seconds that more would take.
    """
    begin, n_classes = perf_counter(), data.targets.shape[1]
    columns = data.rows[:, 0].cpu().numpy().T
    edges = [_edges(values) for values in columns]
    levels = np.stack([np.searchsorted(*pair) for pair in zip(edges, columns, strict=True)], axis=1)
    seen = levels, data.y.cpu().numpy(), data.weight.cpu().numpy()
    folds = [(fold == one, _Trees(seen, validation[fold == one], n_classes, seed)) for one in np.unique(fold)]
    if not all(trees.several_classes for _, trees in folds):
        return None
    targets, device = data.targets[validation], data.targets.device
    least, held_out, best = pooled_loss([beside], targets, evidence), torch.empty_like(targets), 0
    first = next(n for n in ITERATIONS if n * _trees_of_an_iteration(data) >= LEAST_TREES)
    for n_iterations in ITERATIONS[ITERATIONS.index(first) :]:
        best = 1 + int(np.sum([trees.losses(n_iterations) for _, trees in folds], axis=0).argmin())
        for own, trees in folds:
            found = torch.as_tensor(trees.probabilities(best), device=device)
            held_out[torch.as_tensor(own, device=device)] = found.to(held_out)
        before, least = least, pooled_loss([beside, held_out], targets, evidence)
        gains = before - least > LEAST_GAIN
        if not gains or is_short_of(2 * (perf_counter() - begin)):
            break
    if n_iterations == first and not gains:
        return None
    everything = _Trees(seen, validation[:0], n_classes, seed)
    everything.grow(best)
    return _as_tensors(everything.model, edges, n_classes, data.rows[:0]), held_out


class _Trees:
    """Trees that learn from all rows but those held out, by their levels (n, d), classes (n,) and weights (n,)."""

    def __init__(self, seen: tuple[np.ndarray, ...], held_out: np.ndarray, n_classes: int, seed: int) -> None:
        learns = np.ones(len(seen[0]), bool)
        learns[held_out] = False
        numbers = np.flatnonzero(learns)[:MOST_ROWS]
        self._seen, self._held_out = ([part[index] for part in seen] for index in (numbers, held_out))
        self._n_classes = n_classes
        self.model = HistGradientBoostingClassifier(
            early_stopping=False, warm_start=True, random_state=seed, **SETTINGS
        )

    @property
    def several_classes(self) -> bool:
        """Whether the rows that they learn from are of several classes."""
        return len(np.unique(self._seen[1])) > 1

    def grow(self, n_iterations: int) -> None:
        """Go on to so many iterations."""
        self.model.set_params(max_iter=n_iterations).fit(*self._seen)

    def losses(self, n_iterations: int) -> np.ndarray:
        """Logarithmic losses of the rows held out, summed, after each of so many iterations, (iterations,)."""
        self.grow(n_iterations)
        _, y, weight = self._held_out
        of_labels = (p[np.arange(len(y)), y].clip(LEAST_PROBABILITY) for p in self._staged())
        return np.array([-weight @ np.log(p) for p in of_labels])

    def probabilities(self, n_iterations: int) -> np.ndarray:
        """Of the rows held out after so many iterations, (h, K)."""
        return next(islice(self._staged(), n_iterations - 1, None))

    def _staged(self) -> Iterator[np.ndarray]:
        """Probabilities (h, K) of the rows held out after each iteration."""
        for found in self.model.staged_predict_proba(self._held_out[0]):
            staged = np.zeros((len(found), self._n_classes))
            staged[:, self.model.classes_] = found
            yield staged


def _as_tensors(model: Any, edges: list[np.ndarray], n_classes: int, like: Tensor) -> TreesEstimator:
    """The trees of scikit-learn, fitted to the levels of features with these edges between them."""
    trees = [tree for iteration in model._predictors for tree in iteration]
    sizes = [len(tree.nodes) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    nodes, first = np.concatenate([tree.nodes for tree in trees]), np.repeat(roots, sizes)
    leaf, here = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
    threshold = np.full(len(nodes), np.inf, edges[0].dtype)
    for feature in np.unique(nodes["feature_idx"][~leaf]):
        splits = ~leaf & (nodes["feature_idx"] == feature)
        threshold[splits] = edges[feature][nodes["num_threshold"][splits].astype(int)]
    column = np.full(n_classes, -1)
    column[model.classes_] = np.arange(len(model.classes_))
    left, right = (np.where(leaf, here, first + nodes[side]) for side in ("left", "right"))
    return TreesEstimator(
        roots=torch.as_tensor(roots),
        feature=torch.as_tensor(np.where(leaf, 0, nodes["feature_idx"])),
        left=torch.as_tensor(left),
        right=torch.as_tensor(right),
        threshold=torch.as_tensor(threshold),
        value=torch.as_tensor(nodes["value"]),
        baseline=torch.as_tensor(model._baseline_prediction[0]),
        column=torch.as_tensor(column),
        depth=max(tree.get_max_depth() for tree in trees),
    ).to(like)


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges (e,) between levels of values (n,), in the middle of gaps: at a value, rounding would decide where its rows go."""
    distinct = np.unique(values)
    below = np.arange(1, len(distinct))
    if len(distinct) > N_LEVELS:
        quantiles = np.quantile(values, np.arange(1, N_LEVELS) / N_LEVELS)
        below = np.unique(np.searchsorted(distinct, quantiles, side="right").clip(1, len(distinct) - 1))
    low, high = distinct[below - 1], distinct[below]
    middle = low + (high - low) / 2
    return np.where(middle < high, middle, low)
