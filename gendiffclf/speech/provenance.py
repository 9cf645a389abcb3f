"""Provenance of an evaluation: everything needed to repeat it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

from .._version import VERSION
from ..files import write_json
from .names import NO_CONTENT
from .votes import vote_columns

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = (
    "numpy", "scipy", "scikit-learn", "torch", "transformers", "safetensors", "opensmile", "pandas", "soundfile", "soxr",
    "joblib",
)  # fmt: skip


class JsonResult:
    """Base class of results that can be written as JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Return the content as JSON types."""
        raise NotImplementedError

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """
        Write what `as_dict` returns as JSON.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is complete.
        """
        write_json(path, self.as_dict())


def versions(pipeline: Any) -> dict[str, str]:
    """Versions of Python, of this package, of its installed dependencies, and of the packages that define the steps."""
    numbers = {"python": platform.python_version(), "gendiffclf": VERSION}
    modules = {type(step).__module__.partition(".")[0] for _, step in steps_of(pipeline)}
    for name in (*PACKAGES, *sorted(modules - {"gendiffclf"})):
        try:
            numbers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return numbers


def corpus_hash(corpus: pd.DataFrame, content: np.ndarray) -> str:
    """
    Return the SHA-256 hash of a corpus: of content, label, speaker and votes of all clips, independent of paths and order.

    `content` are digests of the clips, of shape (n_clips,), as in `Audit`; broken and silent clips count as equal.
    """
    names = [name for name in ("label", "speaker") if name in corpus]
    digests = ["" if digest.startswith(NO_CONTENT) else digest for digest in content]  # numbers depend on the order
    columns = [digests, *(corpus[name].astype(str) for name in (*names, *vote_columns(corpus)))]
    rows = sorted("\t".join(row) for row in zip(*columns, strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def describe_pipeline(pipeline: Any) -> list[dict[str, Any]]:
    """Return name, class and parameters of each step as JSON types."""
    return [
        {
            "step": name,
            "class": f"{type(step).__module__}.{type(step).__qualname__}",
            "parameters": {key: as_json(value) for key, value in step.get_params(deep=False).items()},
        }
        for name, step in steps_of(pipeline)
    ]


def steps_of(pipeline: Any, name: str = "estimator") -> list[tuple[str, Any]]:
    """Return the steps of a pipeline; another estimator is a single step with this name."""
    return list(pipeline.steps) if isinstance(pipeline, Pipeline) else [(name, pipeline)]


def describe_run(
    pipeline: Any, corpus: pd.DataFrame, content: np.ndarray, folds: Any, tested: list[np.ndarray], **settings: Any
) -> dict[str, Any]:
    """
    Return everything needed to repeat an evaluation, as JSON types.

    `pipeline` and `folds` are as passed to `evaluate`, `content` as for `corpus_hash`; `tested` holds the test rows of each
    fold, and `settings` are others, such as seeds.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "pipeline": describe_pipeline(pipeline),
        "folds": as_json(folds),
        "test_rows": [rows.tolist() for rows in tested],
        **settings,
        "corpus_sha256": corpus_hash(corpus, content),
        "n_clips": len(corpus),
        "versions": versions(pipeline),
        "platform": platform.platform(),
    }


def as_json(value: Any) -> Any:
    """Convert a value to JSON types; tables become lists of rows, NaN None, and objects of other types strings."""
    if hasattr(value, "itertuples"):  # a DataFrame; model folders are read and written without pandas
        value = value.to_dict("records")
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
