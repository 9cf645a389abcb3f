"""Rows on disk: what counts as such, what they are when asked for, and fits that hold no copy of them."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed

from gendiffclf import GenerativeTransportClassifier, novelty, preprocessing
from gendiffclf.device import thread_limit
from gendiffclf.estimators import kernel, nystrom, training_rows
from gendiffclf.preprocessing import SCALINGS, FeatureScaler, n_views
from gendiffclf.training import loop
from gendiffclf.training.memmap import RowsOnDisk, on_disk
from gendiffclf.transport.learned import LearnedPath


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
    assert one.combination_ == other.combination_
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


def test_what_joblib_maps_for_its_workers_counts_as_in_memory(tmp_path):
    """It does so with every large array, which says nothing about the memory that there is."""
    X = np.zeros((20, 6))
    folder = tmp_path / "joblib_memmapping_folder_7_abc"
    folder.mkdir()
    np.save(folder / "rows.npy", X)
    mapped = np.load(folder / "rows.npy", mmap_mode="r")
    for view in (mapped, mapped[:5], np.asarray(mapped)[:, None]):
        assert not on_disk(view)
    names = Parallel(n_jobs=2, max_nbytes=1)(delayed(attrgetter("filename"))(X) for _ in range(2))
    assert all("joblib_memmapping_folder" in str(name) for name in names)


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
def test_rows_by_number_are_those_rows_in_all_scalings(stored, kind):
    X, _ = table(30, (2, 3), "f8")
    index = np.arange(29, -1, -1)
    scaler = FeatureScaler.fit(X, np.ones(30), kind)
    rows = RowsOnDisk(stored(X), scaler, index, torch.zeros(1))
    whole = torch.as_tensor(scaler.transform(X, index))
    assert whole.shape[1] == 2 * n_views(kind)
    for numbers in (torch.tensor([0, 5, 29, 5, -1]), np.array([7, 7, 2])):
        assert torch.equal(rows[numbers], whole[numbers])


def test_threads_may_ask_at_once(stored):
    X, _ = table(3000, (8,), "f4")
    X = X[:, None]
    rows = RowsOnDisk(stored(X), FeatureScaler.fit(X, np.ones(3000), "mixed"), np.arange(3000), torch.zeros(1))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(rows.__getitem__, torch.arange(3000).split(100)))
    assert torch.equal(torch.cat(found), rows[:])


# ----------------------------------------------------------------------- fits


@pytest.mark.parametrize(
    ("shape", "dtype", "changes"),
    [
        ((5,), "f4", {}),
        ((5,), "f8", {"estimator": "network", "n_members": 3, "path": LearnedPath(objective="velocity")}),
        ((5,), "f4", {"estimator": "network", "scaling": "standard", "n_members": 1, "patience": None}),
        ((5,), "f8", {"scaling": "robust", "precision": "float64"}),
        ((5,), "f4", {"estimator": "kernel", "scaling": "quantile"}),
        ((5,), "f8", {"estimator": "kernel", "n_centers": 40}),
        ((3, 4), "f4", {"tokenizer": "layers"}),
    ],
)
def test_a_fit_to_rows_on_disk_is_that_to_rows_in_memory(stored, tiny, shape, dtype, changes):
    X, y = table(300, shape, dtype)
    mapped = stored(X)
    for part in (slice(None), slice(None, None, 3)):
        classifiers = [tiny(**changes).fit(rows[part], y[part]) for rows in (X, mapped)]
        assert_same_fit(*classifiers, X[:200])


def test_trees_learn_from_rows_on_disk(stored, tiny):
    X = np.random.default_rng(0).standard_normal((700, 5)).astype("f4")
    y = np.floor(4 * X[:, 0]) % 2
    classifiers = [tiny(random_state=0).fit(rows, y) for rows in (X, stored(X))]
    assert_same_fit(*classifiers, X)
    assert all(len(classifier.combination_.exponents) == 3 for classifier in classifiers)


def test_the_order_of_values_in_the_file_makes_no_difference(stored, tiny):
    X, y = table(200, (5,), "f4")
    mapped = stored(np.asfortranarray(X))
    assert mapped.flags.f_contiguous
    assert_same_fit(tiny().fit(mapped, y), tiny().fit(X, y), X)


def test_weights_groups_and_equal_rows_on_disk(stored, tiny):
    X, y = table(300, (5,), "f4")
    X, y, weight, groups = X[:100].repeat(3, 0), y[:100].repeat(3), np.arange(300) % 4, np.arange(300) // 12
    mapped = stored(X)
    assert_same_fit(*(tiny().fit(rows, y, weight, groups) for rows in (X, mapped)), X)


def test_rows_of_nan_on_disk_are_left_out(stored, tiny):
    X, y = table(200, (5,), "f4")
    X[[7, 150]] = np.nan
    y[7] = 9  # a class of which nothing is left
    mapped = stored(X)
    there = ~np.isnan(X[:, 0])
    with pytest.warns(UserWarning, match="Got 2 of 200 rows of NaN only"):
        classifier = tiny().fit(mapped, y)
    assert_same_fit(classifier, tiny().fit(X[there], y[there]), X[there])
    assert classifier.classes_.tolist() == [0, 1, 2]


def test_partial_fit_with_rows_on_disk(stored, tiny):
    X, y = table(300, (5,), "f4")
    mapped = stored(X)
    streams = [
        tiny().fit(rows[:200], y[:200]).partial_fit(rows[200:], np.where(y[200:] == 0, 7, y[200:]))
        for rows in (X, mapped)
    ]
    assert_same_fit(*streams, X)
    assert streams[0].classes_.tolist() == [0, 1, 2, 7]


def test_prediction_of_rows_on_disk(stored, tiny):
    X, y = table(200, (5,), "f4")
    classifier = tiny(estimator="kernel").fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(stored(X)), classifier.predict_proba(X))


def test_a_classifier_fitted_to_rows_on_disk_holds_no_reference_to_them(stored, tiny, tmp_path):
    X, y = table(300, (5,), "f4")
    classifier, in_memory = (tiny(n_centers=50).fit(rows, y) for rows in (stored(X), X))
    pickled = pickle.dumps(classifier)
    assert len(pickled) == pytest.approx(len(pickle.dumps(in_memory)), abs=500)
    classifier.save(tmp_path / "classifier")
    for loaded in (pickle.loads(pickled), GenerativeTransportClassifier.load(tmp_path / "classifier")):
        np.testing.assert_array_equal(loaded.predict_proba(X), in_memory.predict_proba(X))


# --------------------------------------------------------------------- memory


@pytest.fixture
def scaled_at_once(monkeypatch):
    """How many rows each call of the scaler makes."""
    sizes = []
    transform = FeatureScaler.transform

    def counting(self, X, index=None):
        found = transform(self, X, index)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(FeatureScaler, "transform", counting)
    return sizes


def test_rows_on_disk_are_scaled_by_the_batch_and_others_at_once(stored, tiny, scaled_at_once, monkeypatch):
    monkeypatch.setattr(nystrom, "_BLOCK_VALUES", 100 * 20)
    monkeypatch.setattr(kernel, "SELECTION_ROWS", 120)
    monkeypatch.setattr(kernel, "_REFINING", (20, 120))
    monkeypatch.setattr(loop, "VALIDATION_BLOCK", 50)
    monkeypatch.setattr(novelty, "BLOCK", 50)
    monkeypatch.setattr(training_rows, "_BLOCK_VALUES", 100 * 8)
    X, y = table(2000, (4,), "f4")
    changes = {"n_centers": 20, "batch_size": 64}
    tiny(**changes).fit(X, y)
    assert scaled_at_once == [2000]
    scaled_at_once.clear()
    tiny(**changes).fit(stored(X), y)
    assert max(scaled_at_once) <= 2 * 64  # a batch of both members
    assert sum(scaled_at_once) > 2 * 2000


def test_a_fit_to_rows_on_disk_holds_no_copy_of_them(stored, tiny, monkeypatch):
    monkeypatch.setattr(preprocessing, "_FIT_VALUES", 2**16)
    monkeypatch.setattr(preprocessing, "_MOST_ROWS", 1000)
    monkeypatch.setattr(loop, "VALIDATION_BLOCK", 100)
    X, y = table(10_000, (256,), "f4")
    mapped = stored(X)
    classifier = tiny(estimator="network", max_steps=5, batch_size=64, n_frequencies=0)

    def peak(rows):
        tracemalloc.start()
        try:
            with thread_limit(1):  # how many blocks threads hold at a time is chance
                classifier.fit(rows, y[: len(rows)])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    classifier.fit(mapped[:100], y[:100])
    assert peak(mapped) - peak(mapped[:5000]) < 0.2 * X[5000:].nbytes
    assert peak(X) - peak(X[:5000]) > 1.5 * X[5000:].nbytes  # both views of all rows: what the measurement would see
