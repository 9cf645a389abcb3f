"""Batches are bounded and complete, order is kept, and memory that runs out halves a batch."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiffclf.featurizers.batching import map_ahead, map_halving, plan_batches


@given(
    lengths=st.lists(st.integers(1, 50), max_size=40),
    limit=st.integers(1, 200),
    equal=st.booleans(),
)
def test_batches_hold_each_clip_once_within_the_bound(lengths, limit, equal):
    batches = plan_batches(lengths, limit, equal=equal)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= limit
        assert not equal or {lengths[i] for i in batch} == {longest}
    firsts = [lengths[batch[0]] for batch in batches]
    assert firsts == sorted(firsts, reverse=True)


def test_sorting_spares_padding():
    lengths = [1, 10] * 8
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in plan_batches(lengths, 40))
    assert padded == sum(lengths)


@given(n=st.integers(1, 20), fits=st.integers(1, 20))
def test_halving_finds_what_fits(n, fits):
    seen = []

    def square(batch):
        if len(batch) > fits:
            raise MemoryError
        seen.append(len(batch))
        return [item**2 for item in batch]

    assert map_halving(square, list(range(n))) == [item**2 for item in range(n)]
    assert max(seen) <= fits


def test_one_item_that_does_not_fit_and_other_errors_are_raised():
    def fail(error):
        def function(batch):
            raise error

        return function

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        map_halving(fail(RuntimeError("DefaultCPUAllocator: can't allocate memory")), [1, 2, 3])
    calls = []

    def broken(batch):
        calls.append(batch)
        raise KeyError("x")

    with pytest.raises(KeyError):
        map_halving(broken, [1, 2])
    assert len(calls) == 1


@given(items=st.lists(st.integers(), max_size=30), n_threads=st.integers(1, 4))
def test_threads_keep_the_order(items, n_threads):
    assert list(map_ahead(lambda item: item + 1, items, n_threads)) == [item + 1 for item in items]


def test_threads_stay_a_bounded_way_ahead():
    taken = []

    def source():
        for item in range(100):
            taken.append(item)
            yield item

    results = map_ahead(str, source(), 3)
    next(results)
    assert len(taken) <= 5
    results.close()


def test_an_error_in_a_thread_reaches_the_caller_and_ends_the_threads():
    def fail(item):
        if item == 2:
            raise KeyError(item)
        return item

    results = map_ahead(fail, range(10), 2)
    with pytest.raises(KeyError):
        list(results)
    time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gendiffclf")]
