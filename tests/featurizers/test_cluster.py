"""A real local Dask cluster of two worker processes encodes through joblib's own backend."""

import os

import joblib
import numpy as np
import pytest

from gendiffclf.featurizers import FeatureCache, HubertFeaturizer

from .conftest import RATE, tone


@pytest.mark.filterwarnings("default")
def test_dask_workers_share_the_clips(checkpoint, tmp_path):
    distributed = pytest.importorskip("distributed")
    clips = [(tone(0.2 + 0.02 * i, seed=i), RATE) for i in range(16)]
    expected = HubertFeaturizer(checkpoint, cache=None).transform(clips)
    cache = FeatureCache(tmp_path / "shared")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = set(client.run(os.getpid).values())
        featurizer = HubertFeaturizer(checkpoint, cache=cache, on_error="nan", verbose=1)
        with joblib.parallel_config("dask"):
            found = featurizer.transform([*clips, "missing.wav"])
        assert len(workers) == 2
        used = {key for worker in client.run(_loaded_encoders).values() for key in [worker]}
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-4, atol=1e-5)
    assert np.isnan(found[-1]).all()
    assert [failure.index for failure in featurizer.failures_] == [16]
    assert len(cache) == len(clips)
    assert used == {1}  # both workers encoded, each with weights it loaded once


def _loaded_encoders():
    from gendiffclf.featurizers import checkpoint

    return len(checkpoint._loaded)
