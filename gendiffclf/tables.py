"""Encoding of DataFrames: each column by its type, number, boolean or category."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from .rows import observations

RARE_SHARE, RARE_ROWS = 0.01, 3
"""Categories with a smaller share of the training weight and fewer rows share one column: it is hard to learn from so few."""
MOST_CATEGORIES = 500
"""Categories of a column that have a column each, at most."""
NUMBER, BOOLEAN, CATEGORY, EMPTY = "number", "boolean", "category", "empty"
_REMEDIES = {
    ("polars", "LazyFrame"): "X.collect()",
    ("polars", "Series"): "X.to_frame()",
    ("pandas", "Series"): "X.to_frame() for a column, or table.iloc[[number]] for a row",
    ("pyarrow", "Table"): "X.to_pandas()",
    ("numpy", "MaskedArray"): "X.astype(float).filled(numpy.nan)",
}
"""Conversions to suggest for unsupported tables and arrays, by package and type."""
_PLURALS = {NUMBER: "numbers", BOOLEAN: "booleans", CATEGORY: "categories"}


def is_table(X: Any) -> bool:
    """Whether X is a DataFrame of pandas or polars, or of a class derived from one."""
    kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(X).__mro__]
    return not {("pandas", "DataFrame"), ("polars", "DataFrame")}.isdisjoint(kinds)


def check_table(X: Any) -> None:
    """Raise a ValueError if X is an unsupported table, or a DataFrame without rows or columns or with duplicate names."""
    package, kind = type(X).__module__.partition(".")[0], type(X).__name__
    if (package, kind) in _REMEDIES:
        raise ValueError(
            f"Got X of type {package}.{kind}, expected an array, or a DataFrame of pandas or polars; use "
            f"{_REMEDIES[package, kind]}."
        )
    if not is_table(X):
        return
    if 0 in X.shape:
        raise ValueError(
            f"Got a DataFrame of 0 samples or features (shape={X.shape}), while a minimum of 1 is required of both; add rows or "
            "columns."
        )
    counts = Counter(map(str, X.columns))
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(f"Got {counts[twice[0]]} columns {twice[0]!r}, expected different names; rename or drop some.")


def numbers_of(X: Any) -> np.ndarray:
    """Columns of a DataFrame (n, d) as numbers, for a model fitted to numbers; a ValueError if one has categories."""
    return TableEncoder(tuple(TableColumn(str(name), NUMBER) for name in X.columns)).transform(X)


def needs_encoding(X: Any) -> bool:
    """Whether X is a DataFrame with a column of another type than NumPy's integers and floats."""
    if not is_table(X):
        return False
    if _is_polars(X):
        return any(not dtype.is_numeric() or X[name].null_count() for name, dtype in X.schema.items())
    return any(not isinstance(dtype, np.dtype) or dtype.kind not in "iuf" for dtype in X.dtypes)


def declared_categories(X: Any, categorical_features: Any) -> set[int]:
    """
    Numbers of the columns that are categories whatever their type, as the parameter `categorical_features` has them.

    A ValueError if X is no DataFrame or lacks one of the columns.
    """
    rule = "expected 'from_dtype', or a list of names or numbers of columns or of a boolean for each"
    if isinstance(categorical_features, str):
        if categorical_features == "from_dtype":
            return set()
        raise ValueError(f"Got categorical_features={categorical_features!r}, {rule}.")
    if not is_table(X):
        raise ValueError(
            f"Got categorical_features={categorical_features!r} for X of type {type(X).__name__}, expected a DataFrame of pandas "
            "or polars, of which categories become several columns; make X one, in a pipeline by "
            "set_output(transform='pandas'), or set 'from_dtype'."
        )
    names = [str(name) for name in X.columns]
    given = np.asarray(categorical_features, dtype=object)  # of names and numbers, an array would else be of strings
    booleans = [isinstance(column, bool | np.bool_) for column in given.flat]
    if given.shape == (len(names),) and all(booleans):
        return set(np.flatnonzero(given).tolist())
    places: dict[Any, int] = {name: i for i, name in enumerate(names)} | {i: i for i in range(len(names))}
    plain = all(isinstance(column, str | Integral) for column in given.flat) and not any(booleans)
    if given.ndim != 1 or not plain or not set(given) <= set(places):
        listed = names if len(names) <= 20 else f"{str(names[:20])[:-1]}, ...]"
        raise ValueError(f"Got categorical_features={categorical_features!r}, {rule}; the columns are {listed}.")
    return {places[column] for column in given}


@dataclass(frozen=True)
class TableColumn:
    """
    Encoding of one column.

    Attributes
    ----------
    name : str
    kind : {"number", "boolean", "category", "empty"}
        Numbers and booleans become one column of floats. Categories become one column of 0 and 1 for each item of the next
        three attributes. A column without values in training becomes NaN, whatever its later values.
    categories : tuple of str
        Those with a column each, in order.
    rare : bool
        Whether training had other categories, which share a column with unseen ones.
    missing : bool
        Whether training had missing values, which have a column.
    declared : bool
        Whether numbers are categories too.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    rare: bool = False
    missing: bool = False
    declared: bool = False

    @classmethod
    def fit(
        cls, name: str, series: Any, weight: np.ndarray, declared: bool = False, group: np.ndarray | None = None
    ) -> TableColumn:
        """Fit to a column (n,), the weights of its rows (n,) and the numbers of their groups (n,), each of which counts once."""
        kind = _kind(name, series) or EMPTY
        kind = CATEGORY if declared and kind == NUMBER else kind
        if kind != CATEGORY:
            return cls(name, kind)
        values, missing = _texts(series)
        seen = (weight > 0) & ~missing
        if not seen.any():
            return cls(name, EMPTY)
        texts, place = np.unique(values[seen], return_inverse=True)
        size = np.bincount(place, weight[seen], len(texts))
        if group is None:
            n_rows = np.bincount(place, observations(weight)[seen], len(texts))
        else:
            n_rows = np.bincount(np.unique(np.stack([place, group[seen]]), axis=1)[0])
        frequent = (size >= RARE_SHARE * weight.sum()) | (n_rows >= RARE_ROWS)
        frequent[np.argsort(-n_rows, kind="stable")[MOST_CATEGORIES:]] = False
        rare_share = size[~frequent].sum() / size.sum()
        if rare_share > 0.5:
            warnings.warn(
                f"Got column {name!r} of {len(texts)} categories, of which {(~frequent).sum()} with {rare_share:.0%} of its "
                f"weight count as one, so that little is learnt from them: fewer than {RARE_ROWS} rows have it, or "
                f"{MOST_CATEGORIES} others are more frequent; drop the column, or encode it first, for instance by skrub's "
                "TableVectorizer.",
                UserWarning,
                stacklevel=7,
            )
        return cls(
            name,
            kind,
            tuple(texts[frequent].tolist()),
            bool((~frequent).any()),
            bool(missing[weight > 0].any()),
            declared,
        )

    @property
    def names(self) -> list[str]:
        """Names of the encoded columns."""
        if self.kind != CATEGORY:
            return [self.name]
        extra = ["rare"] * self.rare + ["missing"] * self.missing
        return [f"{self.name}={category}" for category in self.categories] + [f"{self.name} ({word})" for word in extra]

    def encode(self, series: Any) -> np.ndarray:
        """
        Encode values (n,) as floats (n, c).

        NaN stands for missing numbers, and for unseen or missing categories if training had no rare or missing ones.
        """
        if self.kind == EMPTY:
            return np.full((len(series), 1), np.nan)
        given = _kind(self.name, series)
        if given == NUMBER and np.isnan(_numbers(series)).all():  # for pandas, gaps alone are numbers
            given = None
        is_category = given == CATEGORY or (self.declared and given == NUMBER)
        if given is not None and is_category != (self.kind == CATEGORY):
            raise ValueError(
                f"Got column {self.name!r} of {_PLURALS[given]}, expected {_PLURALS[self.kind]} as in fit; convert it, or fit "
                "again."
            )
        if self.kind != CATEGORY:
            numbers = np.full(len(series), np.nan) if given is None else _numbers(series)
            if self.kind == BOOLEAN and (other := ~np.isnan(numbers) & (numbers != 0) & (numbers != 1)).any():
                raise ValueError(
                    f"Got column {self.name!r} with the value {numbers[other][0]:g}, expected booleans as in fit, or 0 and 1; "
                    "convert it, or fit again."
                )
            return numbers[:, None]
        values, missing = _texts(series)
        categories, n = np.array(sorted(self.categories), dtype=object), len(self.categories)
        place = np.searchsorted(categories, values)
        frequent = ~missing & (place < n)
        frequent[frequent] = categories[place[frequent]] == values[frequent]
        other = ~missing & ~frequent
        encoded = np.zeros((len(values), len(self.names)))
        encoded[frequent, place[frequent]] = 1
        for rows, has_column, column in ((other, self.rare, n), (missing, self.missing, -1)):
            if has_column:
                encoded[rows, column] = 1
            else:
                encoded[rows] = np.nan
        return encoded


@dataclass(frozen=True)
class TableEncoder:
    """Encoder of DataFrames."""

    columns: tuple[TableColumn, ...]

    @classmethod
    def fit(
        cls, X: Any, weight: np.ndarray, declared: Collection[int] = (), group: np.ndarray | None = None
    ) -> TableEncoder:
        """Fit to a DataFrame of n rows as `TableColumn.fit`, with the indices of columns that are declared categories."""
        names = enumerate(map(str, X.columns))
        return cls(tuple(TableColumn.fit(name, _series(X, i), weight, i in declared, group) for i, name in names))

    def transform(self, X: Any) -> np.ndarray:
        """Encode n rows as an array (n, features), float64, with NaN for missing values."""
        if not is_table(X):
            raise ValueError(
                f"Got X of type {type(X).__name__}, expected a DataFrame of pandas or polars with the columns of fit; "
                "make it one, for instance with pandas.DataFrame(X, columns=classifier.feature_names_in_)."
            )
        return np.concatenate([column.encode(_series(X, i)) for i, column in enumerate(self.columns)], axis=1)

    @property
    def indicators(self) -> np.ndarray:
        """Indices of the features that are 0 or 1, (b,)."""
        counts = [(column.kind in (BOOLEAN, CATEGORY), len(column.names)) for column in self.columns]
        return np.flatnonzero(np.concatenate([np.full(count, indicator) for indicator, count in counts]))

    def get_feature_names_out(self) -> np.ndarray:
        """Names of the features, (features,): `"colour=red"`, `"colour (rare)"`, `"colour (missing)"`, or that of the column."""
        return np.array([name for column in self.columns for name in column.names], dtype=object)


def _series(X: Any, number: int) -> Any:
    """A column by its index."""
    return X.iloc[:, number] if hasattr(X, "iloc") else X.to_series(number)


def _is_polars(data: Any) -> bool:
    return any(kind.__module__.startswith("polars") for kind in type(data).__mro__)


def _kind(name: str, series: Any) -> str | None:
    """Kind of a column by its dtype, or by its values if that is object; None if all values are missing."""
    kind = _kind_of_polars(series) if _is_polars(series) else _kind_of_pandas(series)
    if kind != "other":
        return kind
    values = series.drop_nulls() if _is_polars(series) else series.dropna()
    vectors = len(values) and isinstance(values.to_list()[0], list | tuple | np.ndarray)
    remedy = (
        f"for embeddings, pass np.stack(X[{name!r}].to_list()) as X"
        if vectors
        else "make it one of these, or drop it. skrub's TableVectorizer does so for dates and free text"
    )
    raise ValueError(
        f"Got column {name!r} of dtype {series.dtype}, expected numbers, booleans, strings or categories of one type; {remedy}."
    )


def _kind_of_polars(series: Any) -> str | None:
    dtype, name = series.dtype, str(series.dtype.base_type())
    if series.null_count() == len(series):
        return None
    if dtype.is_numeric():
        return NUMBER
    if name == "Boolean":
        return BOOLEAN
    if name in ("String", "Categorical", "Enum"):
        return CATEGORY
    return _kind_of_values(series.drop_nulls().to_list()) if name == "Object" else "other"


def _kind_of_pandas(series: Any) -> str | None:
    import pandas as pd

    types = pd.api.types
    if isinstance(series.dtype, pd.CategoricalDtype):
        return CATEGORY
    if types.is_bool_dtype(series.dtype):
        return BOOLEAN
    if types.is_numeric_dtype(series.dtype) and not types.is_complex_dtype(series.dtype):
        return NUMBER
    if series.isna().all():
        return None
    return _kind_of_values(series.dropna().tolist())


def _kind_of_values(values: list[Any]) -> str:
    tests: dict[str, Callable[[Any], bool]] = {
        BOOLEAN: lambda value: isinstance(value, bool | np.bool_),
        NUMBER: lambda value: isinstance(value, Real | Decimal) and not isinstance(value, bool),
        CATEGORY: lambda value: isinstance(value, str),
    }
    return next((kind for kind, test in tests.items() if all(map(test, values))), "other")


def _numbers(series: Any) -> np.ndarray:
    """Values (n,), float64, with NaN for missing ones."""
    if _is_polars(series):
        numbers = series.cast(float) if series.dtype.is_numeric() else series  # NumPy has no integers of 128 bits
        return numbers.to_numpy().astype(np.float64)  # null becomes NaN
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _texts(series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values as text, (n,), and a mask of missing ones, (n,)."""
    if _is_polars(series):
        values = series.to_list()
        missing = np.array([value is None or value != value for value in values], dtype=bool)
    else:
        values, missing = series.tolist(), series.isna().to_numpy(bool)
    texts = ["" if gap else _text(value) for value, gap in zip(values, missing, strict=True)]
    return np.array(texts, dtype=object), missing  # not of one width, which a single long text would make large


def _text(value: Any) -> str:
    """A category as text, equal for integers and whole floats, since pandas turns integers with gaps into floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
