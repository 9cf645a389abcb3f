"""How an evaluation was made: what it takes to repeat it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

from .._version import VERSION
from .votes import PREFIX

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = (
    "numpy", "scipy", "scikit-learn", "torch", "transformers", "safetensors", "pandas", "soundfile", "soxr", "joblib",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Of Python, of this package and of those it stands on, as far as they are installed."""
    found = {"python": platform.python_version(), "gendiffclf": VERSION}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def corpus_hash(corpus: pd.DataFrame, content: np.ndarray) -> str:
    """
    SHA-256 of a corpus: of each clip's content, label, speaker and votes, whatever their paths and order.

    Parameters
    ----------
    corpus : DataFrame
        With `label`, and `speaker` and `votes_<label>` where it has them.
    content : ndarray of shape (n_clips,), str
        Digests, as of `Audit`.
    """
    names = [name for name in ("label", "speaker") if name in corpus]
    names += sorted(name for name in map(str, corpus.columns) if name.startswith(PREFIX))
    columns = [content, *(corpus[name].astype(str) for name in names)]
    rows = sorted("\t".join(row) for row in zip(*columns, strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def describe_pipeline(pipeline: Any) -> list[dict[str, Any]]:
    """Each step's name, class and parameters; what JSON does not know is written as Python shows it."""
    steps = pipeline.steps if isinstance(pipeline, Pipeline) else [("estimator", pipeline)]
    return [
        {
            "step": name,
            "class": f"{type(step).__module__}.{type(step).__qualname__}",
            "parameters": {key: as_json(value) for key, value in step.get_params(deep=False).items()},
        }
        for name, step in steps
    ]


def describe_run(
    pipeline: Any, corpus: pd.DataFrame, content: np.ndarray, folds: Any, tested: list[np.ndarray], **settings: Any
) -> dict[str, Any]:
    """
    What it takes to repeat an evaluation.

    Parameters
    ----------
    pipeline : estimator
        Before it was fitted.
    corpus, content
        As for `corpus_hash`.
    folds : object
        As given to `evaluate`.
    tested : list of ndarray of int
        Rows of the corpus that each fold tests.
    **settings
        Seeds and the like.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "pipeline": describe_pipeline(pipeline),
        "folds": folds if isinstance(folds, str) else as_json(folds),
        "test_rows": [rows.tolist() for rows in tested],
        **settings,
        "corpus_sha256": corpus_hash(corpus, content),
        "n_clips": len(corpus),
        "versions": versions(),
        "platform": platform.platform(),
    }


def as_json(value: Any) -> Any:
    """A value of types that JSON knows; NaN is None, other types are text."""
    if isinstance(value, dict):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and np.isnan(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
