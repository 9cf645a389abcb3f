"""DataFrames of numbers, booleans and categories: pandas and polars, nullable and Arrow types."""

import tracemalloc
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from category_tables import encoded
from hypothesis import given, settings
from hypothesis import strategies as st

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.tables import TableColumn, TableEncoder, is_table, needs_encoding

COLOURS = ["red", "green", "blue"]


def table(n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """A table whose category, number and gaps tell classes apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    colour = pd.Series(np.array(COLOURS)[y], dtype="category")
    return pd.DataFrame(
        {
            "colour": colour.where(rng.random(n) > 0.1),
            "size": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n) + y),
            "open": rng.integers(0, 2, n).astype(bool),
        }
    ), y


# -------------------------------------------------------------------- columns

TYPES = {
    "object": lambda values: pd.Series(values, dtype=object),
    "str": lambda values: pd.Series(values, dtype="str"),
    "string": lambda values: pd.Series(values, dtype="string"),
    "category": lambda values: pd.Series(values, dtype="category"),
    "arrow": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    "dictionary": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
    "polars string": lambda values: pl.Series(values, dtype=pl.String),
    "polars category": lambda values: pl.Series(values, dtype=pl.Categorical),
    "polars enum": lambda values: pl.Series(values, dtype=pl.Enum(COLOURS)),
}


@pytest.mark.parametrize("kind", TYPES)
def test_text_of_every_type_becomes_the_same_columns(kind):
    column, found = encoded(TYPES[kind](["red", "green", None, "red"]))
    assert column.names == ["c=green", "c=red", "c (missing)"]
    np.testing.assert_array_equal(found, [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    "dtype",
    ["float32", "Int64", "Float64", "int64[pyarrow]", "double[pyarrow]", pl.Int8, pl.Int128, pl.Float32, pl.Decimal],
)
def test_numbers_of_every_type_are_numbers(dtype):
    gap = None if dtype != "float32" else np.nan
    values = [1, gap, 3]
    series = pl.Series(values, dtype=dtype) if not isinstance(dtype, str) else pd.Series(values, dtype=dtype)
    column, found = encoded(series)
    assert column.kind == "number"
    np.testing.assert_array_equal(found, [[1], [np.nan], [3]])


def test_decimals_are_numbers():
    column, found = encoded(pd.Series([Decimal("1.5"), None, 3], dtype=object))
    assert column.kind == "number"
    np.testing.assert_array_equal(found, [[1.5], [np.nan], [3]])


@pytest.mark.parametrize("dtype", [object, "boolean", "bool[pyarrow]", pl.Boolean])
def test_booleans_of_every_type_are_0_and_1(dtype):
    values = [True, None, False]
    series = pl.Series(values, dtype=dtype) if dtype is pl.Boolean else pd.Series(values, dtype=dtype)
    column, found = encoded(series)
    assert column.kind == "boolean"
    np.testing.assert_array_equal(found, [[1], [np.nan], [0]])


def test_what_was_not_there_in_training_is_not_known():
    column, _ = encoded(pd.Series(["red", "green"]))
    np.testing.assert_array_equal(column.encode(pd.Series(["blue", None, "red"])), [[np.nan] * 2, [np.nan] * 2, [0, 1]])


@pytest.mark.parametrize("dtype", [object, "category", float])
def test_a_column_without_values_tells_nothing_whatever_comes_later(dtype):
    column, found = encoded(pd.Series([None, None], dtype=dtype))
    assert column.names == ["c"]
    for later in (pd.Series([None, None], dtype=dtype), pl.Series([None, None]), pd.Series(["a", "b"])):
        if dtype is not float or later.dtype != pd.Series(["a"]).dtype:
            np.testing.assert_array_equal(column.encode(later), [[np.nan], [np.nan]])
    for later in (pd.Series(pd.to_datetime(["2020", "2021"])), pd.Series(["a", 1], dtype=object)):
        if dtype is float:  # without values, but of numbers
            continue
        np.testing.assert_array_equal(column.encode(later), [[np.nan], [np.nan]])
    np.testing.assert_array_equal(found, [[np.nan], [np.nan]])


def test_whole_numbers_as_categories_are_the_same_with_and_without_gaps():
    """Of integers with gaps, pandas makes floats."""
    column, _ = encoded(pd.Series([1, None, 2]).astype("category"))
    assert column.names == ["c=1", "c=2", "c (missing)"]
    np.testing.assert_array_equal(column.encode(pd.Series([2, 1], dtype="category")), [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(pd.to_datetime(["2020-01-01"])),
        pd.Series(["a", 1]),
        pd.Series([1j]),
        pl.Series([[1, 2]]),
        pl.Series(["2020-01-01"]).str.to_date(),
    ],
)
def test_columns_of_other_types_are_refused_by_name(series):
    with pytest.raises(
        ValueError, match=r"Got column 'c' of dtype .*, expected numbers, booleans, strings or categories"
    ):
        TableColumn.fit("c", series, np.ones(len(series)))


@pytest.mark.parametrize("series", [pd.Series([None, np.ones(2)]), pd.Series([[1.0, 2.0]]), pl.Series([[1.0, 2.0]])])
def test_a_column_of_vectors_is_refused_with_a_way_to_make_features_of_it(series):
    with pytest.raises(ValueError, match=r"for embeddings, pass np\.stack\(X\['c'\]\.to_list\(\)\) as X"):
        TableColumn.fit("c", series, np.ones(len(series)))


@pytest.mark.parametrize(
    ("then", "now", "words"), [(["a"], [1], "numbers, expected categories"), ([1], ["a"], "categories, expected numb")]
)
def test_a_column_of_another_kind_than_in_fit(then, now, words):
    with pytest.raises(ValueError, match=f"Got column 'c' of {words}"):
        TableColumn.fit("c", pd.Series(then), np.ones(1)).encode(pd.Series(now))


def test_booleans_that_are_neither_0_nor_1():
    column = TableColumn.fit("c", pd.Series([True, False]), np.ones(2))
    np.testing.assert_array_equal(column.encode(pd.Series([1.0, None])), [[1], [np.nan]])
    with pytest.raises(
        ValueError, match="Got column 'c' with the value 7, expected booleans as in fit, or 0 and 1; convert it"
    ):
        column.encode(pd.Series([1.0, 7.0]))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pl.LazyFrame({"a": [1]}), r"polars\.LazyFrame, expected an array, or a DataFrame .*; use X\.collect\(\)"),
        (pl.Series([1]), r"polars\.Series, .*; use X\.to_frame\(\)"),
        (
            pd.Series([1]),
            r"pandas\.Series, .*; use X\.to_frame\(\) for a column, or table\.iloc\[\[number\]\] for a row",
        ),
        (np.ma.masked_less([[1]], 2), r"numpy\.MaskedArray, .*; use X\.astype\(float\)\.filled\(numpy\.nan\)"),
        (pa.table({"a": [1]}), r"pyarrow\.Table, .*; use X\.to_pandas\(\)"),
        (
            pd.DataFrame({"a": []}),
            r"Got a DataFrame of 0 samples or features \(shape=\(0, 1\)\), while a minimum of 1 is required",
        ),
        (pl.DataFrame(), r"shape=\(0, 0\)\), while a minimum of 1 is required of both; add rows or columns"),
        (
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            "Got 2 columns 'a', expected different names; rename or drop some",
        ),
    ],
)
def test_tables_that_nothing_can_be_made_of(tiny, iris, X, message):
    with pytest.raises(ValueError, match=message):
        tiny().fit(X, [0])
    with pytest.raises(ValueError, match=message):
        tiny().fit(*iris).predict(X)


def test_text_where_numbers_were_learnt(tiny, iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = tiny().fit(frame, y)
    with pytest.raises(ValueError, match="Got column 'b' of categories, expected numbers as in fit"):
        fitted.predict(frame.assign(b="text"))
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- note"):
        fitted.predict(frame.assign(note="text"))
    nullable = frame.convert_dtypes(dtype_backend="pyarrow")
    np.testing.assert_allclose(fitted.predict_proba(nullable), fitted.predict_proba(frame), atol=1e-6)
    with pytest.raises(ValueError, match="Got X with the text 'text', expected numbers; make X a DataFrame"):
        tiny().fit(frame.assign(b="text").to_numpy(), y)


def test_which_tables_need_an_encoder():
    assert not is_table(np.ones((2, 2)))
    assert not needs_encoding(pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan]}))
    assert not needs_encoding(pl.DataFrame({"a": [1, 2]}))
    for values in ([1, None], [True, False], ["a", "b"]):
        assert needs_encoding(pl.DataFrame({"a": values}))
    assert needs_encoding(pd.DataFrame({"a": pd.Series([1, 2], dtype="Int64")}))


class Frame(pd.DataFrame):
    """A DataFrame of another package, as those of geopandas."""


class PolarsFrame(pl.DataFrame):
    """Derived, too."""


@pytest.mark.parametrize("derived", [Frame, PolarsFrame])
def test_derived_tables_are_tables(tiny, derived):
    frame, y = table()
    plain = frame if derived is Frame else pl.from_pandas(frame)
    classifier = tiny().fit(derived(plain), y)
    assert classifier.table_encoder_ == tiny().fit(plain, y).table_encoder_
    np.testing.assert_array_equal(classifier.predict_proba(derived(plain)), classifier.predict_proba(plain))
    numbers = plain[["size"]]
    assert needs_encoding(derived(numbers)) == needs_encoding(numbers)


N = 12
columns = st.one_of(
    st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "ccc", ""])), min_size=N, max_size=N),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=N, max_size=N),
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=N, max_size=N),
    st.lists(st.integers(-100, 100), min_size=N, max_size=N),
    st.lists(st.one_of(st.none(), st.integers(-100, 100)), min_size=N, max_size=N),
)
tables = st.lists(columns, min_size=1, max_size=5)


def frames(values: list[list]) -> dict[str, pd.DataFrame | pl.DataFrame]:
    """The same table as each kind of DataFrame."""
    data = {f"column {i}": value for i, value in enumerate(values)}
    pandas, polars = pd.DataFrame(data), pl.DataFrame(data, strict=False)
    text = [name for name, dtype in polars.schema.items() if dtype == pl.String]
    return {
        "polars": polars,
        "polars enums": polars.with_columns(
            pl.col(name).cast(pl.Enum(polars[name].drop_nulls().unique(maintain_order=True))) for name in text
        ),
        "polars categories": polars.with_columns(pl.col(text).cast(pl.Categorical)),
        "pandas": pandas,
        "nullable": pandas.convert_dtypes(),
        "Arrow": pandas.convert_dtypes(dtype_backend="pyarrow"),
        "pandas categories": pandas.astype(dict.fromkeys(text, "category")),
    }


@settings(max_examples=60)
@given(values=tables)
def test_mixed_tables_of_every_kind_become_the_same(values):
    first, *others = frames(values).values()
    encoder = TableEncoder.fit(first, np.ones(N))
    expected = encoder.transform(first)
    assert expected.shape == (N, len(encoder.get_feature_names_out()))
    indicators = expected[:, encoder.indicators]
    assert np.isin(indicators[~np.isnan(indicators)], [0, 1]).all()
    for frame in others:
        assert TableEncoder.fit(frame, np.ones(N)) == encoder
        np.testing.assert_array_equal(encoder.transform(frame), expected)


@settings(max_examples=12)
@given(values=tables, later=st.data())
def test_a_classifier_is_the_same_of_every_kind_of_table(values, later):
    """Fitted to one kind, asked with all others; rows to predict lack cells that training had, and have categories it had not."""
    known = frames([[*range(N)], *values])
    classifier = GenerativeTransportClassifier(estimator="kernel").fit(known["polars"], np.arange(N) % 2)
    replaced = []
    for column in values:
        kind = next((type(value) for value in column if value is not None), str)
        new = {str: "unseen", bool: True, int: 7, float: 0.5}[kind]
        replaced.append(later.draw(st.lists(st.sampled_from([None, new, column[0]]), min_size=N, max_size=N)))
    new_frames = frames([[*range(N)], *replaced])
    expected = classifier.predict_proba(new_frames["polars"])
    np.testing.assert_allclose(expected.sum(1), 1)
    for kind, frame in new_frames.items():
        np.testing.assert_allclose(classifier.predict_proba(frame), expected, atol=1e-9, err_msg=kind)


# ----------------------------------------------------------------- classifier


@pytest.mark.parametrize("estimator", ["both", "network", "kernel"])
def test_a_classifier_of_a_mixed_table(tiny, tmp_path, estimator):
    X, y = table()
    classifier = tiny(estimator=estimator).fit(X[:90], y[:90])
    assert classifier.feature_names_in_.tolist() == ["colour", "size", "open"]
    assert classifier.n_features_in_ == 3
    names = ["colour=blue", "colour=green", "colour=red", "colour (missing)", "size", "open"]
    assert classifier.table_encoder_.get_feature_names_out().tolist() == names
    found = classifier.predict_proba(X[90:])
    np.testing.assert_array_equal(classifier.predict_proba(pl.from_pandas(X[90:])), found)
    classifier.save(tmp_path / "model")
    loaded = GenerativeTransportClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X[90:]), found)
    if estimator != "network":
        assert classifier.score(X[90:], y[90:]) > 0.8
        more = loaded.partial_fit(X[:5].assign(colour="violet"), ["new"] * 5 if y.dtype == object else np.full(5, 9))
        assert more.predict_proba(X).shape == (120, 4)


@pytest.mark.parametrize("colours", [list("rgb"), list("rg"), ["r"]])
def test_a_table_of_one_categorical_column(tiny, colours):
    X, y = pd.DataFrame({"colour": (colours * 30)[:30]}), [0, 1] * 15
    classifier = tiny(estimator="kernel").fit(X, y)
    found = classifier.predict_proba(X)
    np.testing.assert_array_equal(classifier.predict_proba(pl.DataFrame(X.to_dict("list"))), found)
    later = classifier.partial_fit(X[:3], y[:3])
    assert later.predict_proba(X).shape == found.shape


def test_categories_are_centred_and_numbers_scaled(tiny):
    X, y = table()
    classifier = tiny().fit(X, y)
    scaled = classifier.scaler_.transform(classifier.table_encoder_.transform(X)[:, None])
    for view in range(2):
        np.testing.assert_allclose(np.ptp(scaled[:, view, :4], axis=0), 1, rtol=1e-6)
        np.testing.assert_allclose(scaled[:, view, :4].mean(0), 0, atol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, lambda X: X[["size", "open", "colour"]], lambda X: X[["colour", "size"]]])
def test_input_that_is_not_the_table_of_fit(tiny, make):
    X, y = table()
    with pytest.raises(ValueError, match=r"expected a DataFrame|feature names should match|features"):
        tiny().fit(X, y).predict(make(X))


def test_an_array_for_a_table_is_told_what_to_be(tiny):
    X, y = table()
    X.columns = range(3)  # scikit-learn keeps names of text only
    with pytest.raises(
        ValueError, match="Got X of type ndarray, expected a DataFrame of pandas or polars with the columns"
    ):
        tiny().fit(X, y).predict(X.to_numpy())


def test_infinity_is_in_the_column_of_the_table(tiny):
    X, y = table()
    X.loc[3, "size"] = -np.inf
    with pytest.raises(ValueError, match="infinity or a number beyond float64 in column 'size', first in row 3"):
        tiny().fit(X, y)


def test_weights_of_a_table_count_like_rows(tiny):
    X, y = table(60)
    weight = np.random.default_rng(1).integers(1, 4, 60)
    weighted = tiny().fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(60), weight)
    repeated = tiny().fit(X.iloc[rows], y[rows])
    assert weighted.table_encoder_ == repeated.table_encoder_
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_a_later_fit_to_an_array_forgets_the_table(tiny, iris):
    classifier = tiny().fit(*table()).fit(*iris)
    assert classifier.table_encoder_ is None
    assert classifier.predict_proba(iris[0]).shape == (150, 3)


def test_skrub_before_the_classifier(tiny):
    skrub = pytest.importorskip("skrub")
    from sklearn.pipeline import make_pipeline

    X, y = table()
    X["when"] = pd.date_range("2020-01-01", periods=len(X))
    model = make_pipeline(skrub.TableVectorizer(), tiny()).fit(X[:90], y[:90])
    assert model.score(X[90:], y[90:]) > 0.5


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_rows_without_any_category(tiny, frame):
    """To pandas, a column of gaps alone is one of numbers."""
    X, y = table(60)
    classifier = tiny().fit(X.astype({"colour": object}), y)
    new = frame({"colour": [np.nan] * 2, "size": [1.0, 2.0], "open": [True, False]})
    one_by_one = [{"colour": None, "size": 1.0, "open": True}, {"colour": None, "size": 2.0, "open": False}]
    np.testing.assert_array_equal(classifier.predict_proba(new), classifier.predict_proba(pd.DataFrame(one_by_one)))


def test_a_long_text_costs_its_own_length():
    texts = ["x", "z"] * 5000
    texts[0] = "y" * 10_000
    tracemalloc.start()
    TableEncoder.fit(pd.DataFrame({"text": texts}), np.ones(10_000))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
