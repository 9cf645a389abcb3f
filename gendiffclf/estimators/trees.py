"""Gradient-boosted trees: steps along single features, which smooth estimators learn slowly (Friedman 2001).

Kernel and network are smooth: thresholds, and single values that mean something of their own, take them many rows. Trees are the
opposite, and err elsewhere, so that a product of both is better than either. scikit-learn grows them
(`HistGradientBoostingClassifier`); as tensors they run on every device and are saved with everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .combination import LEAST_PROBABILITY, pooled_loss
from .training_rows import TrainingRows, read

LEAST_ROWS, MOST_ROWS = 500, 100_000
"""Fewest rows with which trees join the other estimators, and most rows that they learn from."""
MOST_CLASSES, MOST_SPLITS = 20, 400
"""Classes, and features times classes, at most: so up to 200 features. Single features of embeddings tell little."""
N_LEVELS = 255
"""Levels that a feature is rounded to: as many as scikit-learn tells apart."""
LEAST_GAIN = 2.0
"""Least fall of the summed log-loss, in nats: significant in a likelihood-ratio test for one more exponent."""
SETTINGS = {"learning_rate": 0.1, "max_leaf_nodes": 15, "max_depth": 8, "max_features": 0.5, "l2_regularization": 1.0}
ITERATIONS = 90, 135, 200, 300, 450, 675, 1000
"""Numbers of iterations, tried in this order while the product gains on held-out rows."""


@dataclass(frozen=True)
class TreesEstimator:
    """
    Fitted trees on the first scaling of a row of one layer, their nodes side by side.

    Attributes
    ----------
    roots : Tensor of shape (iterations * C,), int32
        The first node of each tree. C is the number of classes that it was fitted to, or 1 for two of them.
    feature : Tensor of shape (nodes,), int64
        The feature that a node splits on.
    right : Tensor of shape (nodes,), int32
        The node of values above its threshold. Lower ones go to the next node.
    threshold : Tensor of shape (nodes,)
        Exact in float32, as scaled rows are; minus infinity in leaves, which lead to themselves.
    value : Tensor of shape (nodes,)
        What a leaf adds to the logit of its tree's class.
    baseline : Tensor of shape (C,)
        Logits without trees.
    column : Tensor of shape (K,), int64
        The place of each class among those that it was fitted to; -1 for one that came later, whose logit is their mean.
    depth : int
        Steps from a root to the farthest leaf.
    """

    roots: Tensor
    feature: Tensor
    right: Tensor
    threshold: Tensor
    value: Tensor
    baseline: Tensor
    column: Tensor
    depth: int

    def to(self, like: Tensor | str) -> TreesEstimator:
        """A copy on a tensor's device and in its precision, or on the device named."""
        device = like if isinstance(like, str) else like.device
        tensors = {name: x for name, x in vars(self).items() if isinstance(x, Tensor)}
        moved: dict[str, Any] = {n: x.to(like if x.is_floating_point() else device) for n, x in tensors.items()}
        return replace(self, **moved)

    def estimate(self, rows: Tensor) -> Tensor:
        """Class probabilities, which are coordinates of x̂0 along the codes, (B, views, d) -> (B, K)."""
        rows = rows[:, 0]
        node = self.roots.expand(rows.shape[0], -1)  # (B, T)

        def of_nodes(x: Tensor) -> Tensor:
            return x.index_select(0, node.flatten()).view_as(node)  # much faster than indexing in two dimensions

        for _ in range(self.depth):
            above = rows.gather(1, of_nodes(self.feature)) > of_nodes(self.threshold)
            node = torch.where(above, of_nodes(self.right), node + 1)
        logits = self.baseline + of_nodes(self.value).unflatten(1, (-1, len(self.baseline))).sum(1)
        if len(self.baseline) == 1:
            logits = torch.nn.functional.pad(logits, (1, 0))
        logits = torch.cat([logits, logits.mean(1, keepdim=True)], dim=1)[:, self.column]
        return torch.softmax(logits, dim=-1)

    def with_classes(self, order: np.ndarray) -> TreesEstimator:
        """With new classes, which come last before they are put in this order, (K,)."""
        column = torch.nn.functional.pad(self.column, (0, len(order) - len(self.column)), value=-1)
        return replace(self, column=column[torch.as_tensor(order, device=column.device)])


def suitable(data: TrainingRows, n_views: int) -> bool:
    """Whether trees are worth their time for these rows (n, views * layers, d)."""
    n_classes, (n_parts, d) = data.targets.shape[1], data.rows[:1].shape[1:]
    return n_parts == n_views and len(data) >= LEAST_ROWS and n_classes <= MOST_CLASSES and d * n_classes <= MOST_SPLITS


def fit_trees(
    data: TrainingRows,
    train: Sequence[np.ndarray],
    validation: np.ndarray,
    fold: np.ndarray,
    others: Tensor,
    evidence: Tensor,
    is_short_of: Callable[[float], bool],
    seed: int,
) -> tuple[TreesEstimator, Tensor] | None:
    """
    Fit trees to rows (n, views, d), and for each fold others, with the probabilities (v, K) of its rows by these, on the CPU.

    None if a product with them is not better than the probabilities `others` (v, K) by all other estimators, if all rows outside
    of a fold are of one class, or if time `is_short_of` the seconds that they take. Iterations end early for lack of time.

    The rows of numbers `train[k]` teach the trees of fold k. Those of numbers `validation` (v,) are in the folds `fold` (v,), and
    `evidence` (v,) are their weights as of `combine`.
    """
    begin, n_classes = perf_counter(), data.targets.shape[1]
    train, every = [part[:MOST_ROWS] for part in train], np.arange(min(len(data), MOST_ROWS))
    used = np.unique(np.concatenate([every, validation, *train]))
    x = read(data.rows, used, lambda rows: rows[:, 0].float().cpu()).numpy()
    edges, levels = [], np.empty(x.shape, np.uint8)
    for feature, values in enumerate(x.T):
        edges.append(_edges(values))
        levels[:, feature] = np.searchsorted(edges[-1], values)
    rows = levels, data.y[used].cpu().numpy(), data.weight[used].cpu().numpy()

    def grown(numbers: np.ndarray, held_out: np.ndarray) -> _Trees:
        return _Trees(rows, np.searchsorted(used, numbers), np.searchsorted(used, held_out), n_classes, seed)

    folds = [(fold == k, grown(train[k], validation[fold == k])) for k in np.unique(fold)]
    if not all(trees.several_classes for _, trees in folds):
        return None
    targets = data.targets[validation].cpu()
    alone = least = pooled_loss([others], targets, evidence)
    held_out = torch.empty_like(targets)
    folds[0][1].grow(ITERATIONS[0])
    if is_short_of((len(folds) + 1) * (perf_counter() - begin)):
        return None
    for n_iterations in ITERATIONS:
        best = 1 + int(np.sum([trees.losses(n_iterations) for _, trees in folds], axis=0).argmin())
        for in_fold, trees in folds:
            held_out[in_fold] = torch.as_tensor(trees.probabilities(best)).to(held_out)
        before, least = least, pooled_loss([others, held_out], targets, evidence)
        if not before - least > LEAST_GAIN or is_short_of(2 * (perf_counter() - begin)):
            break
    if not alone - least > LEAST_GAIN:  # nor where it is no number
        return None
    final = grown(every, validation[:0])
    final.grow(best)
    return _as_tensors(final.model, edges, n_classes).to(data.rows[:1].cpu()), held_out


class _Trees:
    """Trees that learn from rows of numbers `train`, of rows given as levels (n, d), classes (n,) and weights (n,)."""

    def __init__(
        self, rows: tuple[np.ndarray, ...], train: np.ndarray, held_out: np.ndarray, n_classes: int, seed: int
    ) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier  # its import takes long, and predictions do without

        self._seen = [part[train] for part in rows]
        self._held_out = [part[held_out] for part in rows]
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


def _as_tensors(model: Any, edges: list[np.ndarray], n_classes: int) -> TreesEstimator:
    """The trees of scikit-learn, fitted to the levels of features with these edges between them."""
    trees = [tree for iteration in model._predictors for tree in iteration]
    sizes = [len(tree.nodes) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    nodes, first = np.concatenate([tree.nodes for tree in trees]), np.repeat(roots, sizes)
    leaf, here = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
    threshold = np.full(len(nodes), -np.inf, np.float32)
    for feature in np.unique(nodes["feature_idx"][~leaf]):
        splits = ~leaf & (nodes["feature_idx"] == feature)
        threshold[splits] = edges[feature][nodes["num_threshold"][splits].astype(int)]
    column = np.full(n_classes, -1)
    column[model.classes_] = np.arange(len(model.classes_))
    return TreesEstimator(
        roots=torch.as_tensor(roots, dtype=torch.int32),
        feature=torch.as_tensor(np.where(leaf, 0, nodes["feature_idx"])),
        right=torch.as_tensor(np.where(leaf, here, first + nodes["right"]), dtype=torch.int32),
        threshold=torch.as_tensor(threshold),
        value=torch.as_tensor(nodes["value"]),
        baseline=torch.as_tensor(model._baseline_prediction[0]),
        column=torch.as_tensor(column),
        depth=max(tree.get_max_depth() for tree in trees),
    )


def _edges(values: np.ndarray) -> np.ndarray:
    """
    Edges (e,) between levels of values (n,), inside of gaps: at a value, rounding would decide where its rows go.

    Not in the middle, where new values lie too, such as 0.5 between 0 and 1.
    """
    distinct = np.unique(values)
    below = np.arange(1, len(distinct))
    if len(distinct) > N_LEVELS:
        quantiles = np.quantile(values, np.arange(1, N_LEVELS) / N_LEVELS)
        below = np.unique(np.searchsorted(distinct, quantiles, side="right").clip(1, len(distinct) - 1))
    low, high = distinct[below - 1], distinct[below]
    inside = low + (high - low) * np.float32(0.382)
    return np.where(inside < high, inside, low)
