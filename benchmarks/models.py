"""Models that are measured: ours and its peers, with the settings that people get who set nothing, and tuned ones."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.optional import require

from .peers import CalibratedSVC, LabelEncoded, TunedLogistic


def _optional(package: str, name: str, **parameters: Any) -> BaseEstimator:
    return getattr(require(package, "bench"), name)(**parameters)


def _realmlp_td() -> BaseEstimator:
    model = _optional("pytabkit", "RealMLP_TD_Classifier", random_state=0)
    # Its trainer announces itself at every fit; the import sets the level, so it must come before.
    import_module("pytorch_lightning")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    return model


MODELS: dict[str, Callable[[], BaseEstimator]] = {
    "ours": lambda: GenerativeTransportClassifier(random_state=0),
    "logreg": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    "logreg_tuned": TunedLogistic,
    "svc_rbf": CalibratedSVC,
    "svc_rbf_c10": lambda: CalibratedSVC(C=(10.0,)),  # the default C is far from the best on some tables
    "svc_tuned": lambda: CalibratedSVC(C=(0.1, 1.0, 10.0, 100.0), gamma=(0.25, 1.0, 4.0)),
    "knn": lambda: make_pipeline(StandardScaler(), KNeighborsClassifier()),
    "mlp": lambda: make_pipeline(StandardScaler(), MLPClassifier((256, 256), max_iter=500, random_state=0)),
    "mlp_early": lambda: make_pipeline(StandardScaler(), MLPClassifier(early_stopping=True, random_state=0)),
    "extratrees": lambda: ExtraTreesClassifier(500, random_state=0),
    "hgb": lambda: HistGradientBoostingClassifier(random_state=0),
    "lightgbm": lambda: _optional("lightgbm", "LGBMClassifier", random_state=0, verbose=-1),
    "xgboost": lambda: LabelEncoded(_optional("xgboost", "XGBClassifier", random_state=0)),
    "catboost": lambda: _optional(
        "catboost", "CatBoostClassifier", random_state=0, verbose=0, allow_writing_files=False
    ),
    "realmlp_td": _realmlp_td,
    "tabm_d": lambda: _optional("pytabkit", "TabM_D_Classifier", random_state=0),
    # The defaults of its authors, with the calibration that they recommend.
    "xrfm": lambda: _optional("pytabkit", "XRFM_D_Classifier", random_state=0, calibration_method="ts-mix"),
}
NAMES = {
    "logreg": "logistic regression",
    "logreg_tuned": "logistic regression, tuned",
    "svc": "SVM",
    "svc_rbf": "SVM",
    "svc_rbf_c10": "SVM, C = 10",
    "svc_tuned": "SVM, tuned",
    "knn": "5 nearest neighbours",
    "mlp": "MLP (256, 256)",
    "mlp_early": "MLP, early stopping",
    "extratrees": "extra trees",
    "hgb": "hist. gradient boosting",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "realmlp_td": "RealMLP",
    "tabm_d": "TabM",
    "xrfm": "xRFM",
}
"""How pages name models, where not by their key."""
OPTIONAL = ("lightgbm", "xgboost", "catboost", "realmlp_td", "tabm_d", "xrfm")
PLAIN = tuple(name for name in MODELS if name not in OPTIONAL)
"""Models that need nothing but gendiffclf's own dependencies."""


def named(label: str) -> str:
    """How pages name a model, or what begins with its key, such as "mlp + sigmoid"."""
    key, *_ = re.split(r"\W", label, maxsplit=1)
    return NAMES.get(key, key) + label[len(key) :]


def create_model(name: str, parameters: dict[str, Any] | None = None) -> BaseEstimator:
    """Create an unfitted model of `MODELS`, whose package must be installed, with parameters as `set_params` takes them."""
    if name not in MODELS:
        raise ValueError(f"Got model {name!r}, expected one of {', '.join(MODELS)}.")
    model = MODELS[name]()
    return model.set_params(**parameters) if parameters else model


def for_columns(name: str, model: BaseEstimator, X: np.ndarray | pd.DataFrame) -> BaseEstimator:
    """A model of `MODELS` as it is used on features of this kind: categories one-hot and gaps filled, unless it takes them."""
    if not isinstance(X, pd.DataFrame) or name in ("ours", "hgb", "lightgbm"):
        return model
    if name == "catboost":  # takes categories as text, in which a gap is one more
        columns = list(X.select_dtypes("category"))
        gaps = dict.fromkeys(columns, "missing")
        as_text = FunctionTransformer(lambda frame: frame.astype(dict.fromkeys(columns, object)).fillna(gaps))
        return make_pipeline(as_text, model.set_params(cat_features=columns))
    numbers = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    categories = OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist", sparse_output=False)
    encoder = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_include="category")),
    )
    return make_pipeline(encoder, model)


def configuration(model: BaseEstimator) -> dict[str, Any]:
    """All parameters of a model, nested ones too, as values that JSON can hold."""
    return {name: plain(value) for name, value in sorted(model.get_params(deep=True).items())}


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    # A repr may hold a memory address, which would make every run another configuration.
    return value.__qualname__ if callable(value) and hasattr(value, "__qualname__") else type(value).__qualname__
