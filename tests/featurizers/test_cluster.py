"""A real local Dask cluster of two worker processes encodes through joblib's own backend."""

import os

import joblib
import numpy as np
import pytest

from gendiffclf.featurizers import FeatureCache, HubertFeaturizer

from .conftest import RATE, tone
from .test_featurizers_caching import IN_PROCESSES


@pytest.mark.filterwarnings("default")
@IN_PROCESSES
def test_dask_workers_share_the_clips(make, tmp_path):
    distributed = pytest.importorskip("distributed")
    clips = [(tone(0.2 + 0.02 * i, seed=i), RATE) for i in range(16)]
    expected = make().transform(clips)
    cache = FeatureCache(tmp_path / "shared")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = set(client.run(os.getpid).values())
        featurizer = make(cache=cache, on_error="nan", verbose=1)
        with joblib.parallel_config("dask"):
            found = featurizer.transform([*clips, "missing.wav"])
        assert len(workers) == 2
        used = set(client.run(_loaded_encoders).values())
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-4, atol=1e-5)
    assert np.isnan(found[-1]).all()
    assert [failure.index for failure in featurizer.failures_] == [16]
    assert len(cache) == len(clips)
    # Both workers encoded, each with weights, if there are any, that it loaded once.
    assert used == {int(isinstance(featurizer, HubertFeaturizer))}


def _loaded_encoders():
    from gendiffclf.featurizers import checkpoint

    return len(checkpoint._loaded)
