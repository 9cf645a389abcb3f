"""Statistics over frames agree with NumPy's, in parts and under padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gendiffclf.featurizers.pooling import POOLINGS, batch_statistics, pooled, pooled_chunks

STATISTICS = [name for name in POOLINGS if name != "none"]
FRAMES = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-5, 5))


def expected(frames, pooling):
    if pooling == "none":
        return frames
    parts = {"mean": frames.mean(0), "std": frames.std(0), "max": frames.max(0)}
    return np.concatenate([parts[name] for name in POOLINGS[pooling]])


@given(frames=FRAMES, pooling=st.sampled_from(list(POOLINGS)))
def test_against_numpy(frames, pooling):
    np.testing.assert_allclose(pooled(frames, pooling), expected(frames, pooling), atol=1e-7)


@given(parts=st.lists(FRAMES, min_size=1, max_size=4), pooling=st.sampled_from(list(POOLINGS)))
def test_chunks_are_pooled_like_the_whole(parts, pooling):
    chunks = []
    for part in parts:
        statistics = batch_statistics(torch.from_numpy(part[None]), [len(part)], pooling)
        chunks.append((len(part), {name: value[0].numpy() for name, value in statistics.items()}))
    np.testing.assert_allclose(pooled_chunks(chunks, pooling), expected(np.concatenate(parts), pooling), atol=1e-7)


@given(clips=st.lists(FRAMES, min_size=1, max_size=4), pooling=st.sampled_from(STATISTICS), fill=st.floats(-9, 9))
def test_padding_does_not_count(clips, pooling, fill):
    lengths = [len(clip) for clip in clips]
    states = torch.full((len(clips), max(lengths), 3), fill, dtype=torch.float64)
    for row, clip in zip(states, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    found = batch_statistics(states, lengths, pooling)
    for i, clip in enumerate(clips):
        statistics = {name: value[i].numpy() for name, value in found.items()}
        np.testing.assert_allclose(
            pooled_chunks([(lengths[i], statistics)], pooling), expected(clip, pooling), atol=1e-7
        )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_states_in_bfloat16_are_pooled_in_float32(pooling):
    found = batch_statistics(torch.ones(1, 4, 2, dtype=torch.bfloat16), [4], pooling)
    assert {value.dtype for value in found.values()} == {torch.float32}
