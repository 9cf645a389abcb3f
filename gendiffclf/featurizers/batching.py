"""Batches of clips with different lengths, and prefetching in threads."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..device import out_of_memory

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def plan_batches(lengths: Sequence[float], limit: float, *, equal: bool = False) -> list[list[int]]:
    """
    Group clips into batches of indices whose padded length, the number of clips times the longest one, is at most `limit`.

    A longer clip forms a batch of its own. With `equal`, only clips of equal length share one. The longest clips come first,
    so that running out of memory shows early.

    Examples
    --------
    >>> plan_batches([1.0, 5.0, 2.0, 5.0], limit=10.0)
    [[1, 3], [2, 0]]
    """
    batches: list[list[int]] = []
    longest = 0.0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = batches and (len(batches[-1]) + 1) * longest <= limit
        if fits and (not equal or lengths[index] == longest):
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = lengths[index]
    return batches


def map_halving(function: Callable[[list[T]], list[R]], batch: list[T]) -> list[R]:
    """Apply `function`, from a list to one of equal length, to a batch, or to its halves if it does not fit in memory."""
    try:
        return function(batch)
    except Exception as error:
        if len(batch) == 1 or not out_of_memory(error):
            raise
    # Outside `except`, the traceback no longer keeps the tensors of the failed batch alive.
    _release_memory()
    logger.info("A batch of %d clips does not fit in memory; encoding its halves.", len(batch))
    middle = len(batch) // 2
    return map_halving(function, batch[:middle]) + map_halving(function, batch[middle:])


def map_batches(
    function: Callable[[list[T]], list[R]],
    items: Sequence[T],
    lengths: Sequence[float],
    limit: float,
    *,
    equal: bool = False,
) -> list[R]:
    """Apply `function` to batches of `plan_batches`, halved if they do not fit in memory; one result per item, in order."""
    results: dict[int, R] = {}
    for batch in plan_batches(lengths, limit, equal=equal):
        results.update(zip(batch, map_halving(function, [items[i] for i in batch]), strict=True))
    return [results[i] for i in range(len(items))]


def map_ahead(function: Callable[[T], R], items: Iterable[T], n_threads: int) -> Generator[R, None, None]:
    """
    Map `function` over `items` in threads, a few items ahead of the consumer, and yield the results in order.

    `items` are consumed as results are, so that only a few results wait in memory.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n_threads, thread_name_prefix="gendiffclf") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _release_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
