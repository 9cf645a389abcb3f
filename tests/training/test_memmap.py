"""Rows on disk: what counts as such, what they are when asked for, and fits that hold no copy of them."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gendiffclf import GenerativeTransportClassifier, preprocessing
from gendiffclf.preprocessing import SCALINGS, FeatureScaler
from gendiffclf.training.memmap import RowsOnDisk, on_disk


@pytest.fixture
def stored(tmp_path):
    """A function that writes an array to a file and maps it, to be read only."""

    def store(values: np.ndarray, **options) -> np.memmap:
        np.save(tmp_path / "rows.npy", values, **options)
        return np.load(tmp_path / "rows.npy", mmap_mode="r")

    return store


def table(n: int, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    X = rng.standard_normal((n, *shape))
    X[..., 0] += 3.0 * y.reshape(-1, *[1] * (len(shape) - 1))
    return X.astype(dtype), y


def assert_same_fit(one, other, X):
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert one.calibration_ == other.calibration_
    assert [one.history_[name] for name in ("loss", "validation_brier")] == [
        other.history_[name] for name in ("loss", "validation_brier")
    ]


# ------------------------------------------------------------- what is on disk


def test_mapped_files_and_views_of_them_are_on_disk(stored):
    X = stored(np.zeros((20, 6), np.float32))
    for view in (X, X[:5], X[::2, 1:], np.asarray(X), X[:, None], X.reshape(20, 2, 3)):
        assert on_disk(view)


def test_what_numpy_read_from_a_mapped_file_is_not_on_disk(stored):
    X = stored(np.zeros((20, 6), np.float32))
    for array in (X[[1, 2]], X[X[:, 0] == 0], X + 1, X.copy(), np.array(X), X.astype(float), np.zeros((20, 6))):
        assert not on_disk(array)


# ------------------------------------------------------------------ their rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slices_are_the_rows_scaled_at_once(stored, dtype):
    X, _ = table(50, (2, 3), "f4")
    index = np.random.default_rng(1).permutation(50)[:40]
    scaler = FeatureScaler.fit(X, np.ones(40), "mixed", index)
    rows = RowsOnDisk(stored(X), scaler, index, torch.zeros(1, dtype=dtype))
    whole = torch.as_tensor(scaler.transform(X, index)).to(dtype)
    assert len(rows) == 40
    for part in (slice(None), slice(3, 30, 4), slice(36, 99)):
        assert rows[part].dtype == dtype
        assert torch.equal(rows[part], whole[part])


@pytest.mark.parametrize("kind", SCALINGS)
def test_members_get_the_view_that_they_see(stored, kind):
    X, _ = table(30, (2, 3), "f8")
    index = np.arange(29, -1, -1)
    scaler = FeatureScaler.fit(X, np.ones(30), kind)
    rows = RowsOnDisk(stored(X), scaler, index, torch.zeros(1))
    numbers = torch.tensor([[0, 5], [29, 5], [-1, 7]])
    n_views = features.n_views(kind)
    views = [member % n_views for member in range(3)]
    found = rows.take(numbers, views)  # (M, B, layers, d)
    expected = rows[:][numbers].unflatten(2, (n_views, 2))  # (M, B, views, layers, d)
    for member, view in enumerate(views):
        assert torch.equal(found[member], expected[member, :, view])
    assert torch.equal(rows.take(numbers, [None] * 3), rows[:][numbers])


def test_threads_may_ask_at_once(stored):
    X, _ = table(3000, (8,), "f4")
    X = X[:, None]
    rows = RowsOnDisk(stored(X), FeatureScaler.fit(X, np.ones(3000), "mixed"), np.arange(3000), torch.zeros(1))
    parts = torch.arange(3000).split(100)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda part: rows.take(part[None], [None])[0], parts))
    assert torch.equal(torch.cat(found), rows[:])


# ----------------------------------------------------------------------- fits


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((5,), {}),
        ((5,), {"n_members": 5, "objective": "velocity"}),
        ((5,), {"scaling": "standard", "early_stopping": False}),
        ((5,), {"scaling": "robust", "precision": "float64"}),
        ((5,), {"scaling": "quantile", "n_members": 1}),
        ((3, 4), {"tokenizer": "layers"}),
    ],
)
def test_a_fit_to_rows_on_disk_is_that_to_rows_in_memory(stored, tiny, dtype, shape, changes):
    X, y = table(1500, shape, dtype)
    mapped = stored(X)
    for part in (slice(None), slice(1000), slice(None, None, 3)):
        classifiers = [tiny(**changes).fit(rows[part], y[part]) for rows in (X, mapped)]
        assert_same_fit(*classifiers, X[:200])


def test_the_order_of_values_in_the_file_makes_no_difference(stored, tiny):
    X, y = table(300, (5,), "f4")
    mapped = stored(np.asfortranarray(X))
    assert mapped.flags.f_contiguous
    assert_same_fit(tiny().fit(mapped, y), tiny().fit(X, y), X)


def test_weights_groups_and_equal_rows_on_disk(stored, tiny):
    X, y = table(300, (5,), "f4")
    X, y, weight, groups = X[:100].repeat(3, 0), y[:100].repeat(3), np.arange(300) % 4, np.arange(300) // 12
    mapped = stored(X)
    assert_same_fit(*(tiny().fit(rows, y, weight, groups) for rows in (X, mapped)), X)


def test_rows_of_nan_on_disk_are_left_out(stored, tiny):
    X, y = table(300, (5,), "f4")
    X[[7, 200]] = np.nan
    y[7] = 9  # a class of which nothing is left
    mapped = stored(X)
    there = ~np.isnan(X[:, 0])
    with pytest.warns(UserWarning, match="Got 2 of 300 rows of NaN only"):
        classifier = tiny().fit(mapped, y)
    assert_same_fit(classifier, tiny().fit(X[there], y[there]), X[there])
    assert classifier.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("objective", ["target", "velocity"])
def test_partial_fit_with_rows_on_disk(stored, tiny, objective):
    X, y = table(600, (5,), "f4")
    mapped = stored(X)
    streams = [tiny(objective=objective) for _ in range(2)]
    for part in (slice(300), slice(300, None)):
        for classifier, rows in zip(streams, (X, mapped), strict=True):
            classifier.partial_fit(rows[part], y[part], classes=[0, 1, 2])
    assert_same_fit(*streams, X)
    if objective == "target":
        after = [tiny().fit(rows[:300], y[:300]).partial_fit(rows[300:], y[300:]) for rows in (X, mapped)]
        assert_same_fit(*after, X)


def test_a_classifier_fitted_to_rows_on_disk_knows_nothing_of_them(stored, tiny, tmp_path):
    X, y = table(2000, (5,), "f4")
    classifier, in_memory = (tiny().fit(rows, y) for rows in (stored(X), X))
    pickled = pickle.dumps(classifier)
    assert len(pickled) == pytest.approx(len(pickle.dumps(in_memory)), abs=200)
    classifier.save(tmp_path / "classifier")
    for loaded in (pickle.loads(pickled), GenerativeTransportClassifier.load(tmp_path / "classifier")):
        np.testing.assert_array_equal(loaded.predict_proba(X), in_memory.predict_proba(X))


# --------------------------------------------------------------------- memory


@pytest.fixture
def scaled_at_once(monkeypatch):
    """How many rows each call of the scaler makes."""
    sizes = []
    transform = FeatureScaler.transform

    def counting(self, X, index=None, view=None):
        found = transform(self, X, index, view)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(FeatureScaler, "transform", counting)
    return sizes


def test_rows_on_disk_are_scaled_by_the_batch_and_others_at_once(stored, tiny, scaled_at_once):
    X, y = table(6000, (4,), "f4")
    tiny(max_epochs=1).fit(X, y)
    assert scaled_at_once == [6000]
    scaled_at_once.clear()
    tiny(max_epochs=1).fit(stored(X), y)
    assert 256 <= max(scaled_at_once) <= 1024  # the Gram matrix takes 1024 at a time
    # Two members learn from a half each and are judged by the other; at last all enter the Gram matrix.
    assert sum(scaled_at_once) == pytest.approx(3 * 6000, rel=0.05)


def test_a_fit_to_rows_on_disk_holds_no_copy_of_them(stored, tiny, monkeypatch):
    monkeypatch.setattr(preprocessing, "_FIT_VALUES", 2**16)
    X, y = table(30_000, (256,), "f4")
    mapped, size = stored(X), X.nbytes
    classifier = tiny(max_steps=5, batch_size=64, n_frequencies=0)
    peaks = {}
    for name, rows in (("disk", mapped), ("memory", X)):
        classifier.fit(rows[:100], y[:100])
        tracemalloc.start()
        try:
            classifier.fit(rows, y)
            peaks[name] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peaks["disk"] < 0.4 * size
    assert peaks["memory"] > 2 * size  # both views of all rows: what the measurement would see
