"""A fitted pipeline as a folder: the classifier's safetensors, and JSON that says which features it wants."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from .._version import VERSION
from ..classifier import GenerativeTransportClassifier
from ..featurizers import FEATURIZERS, SpeechFeaturizer

FORMAT = "gendiffclf.speech"
FORMAT_VERSION = 1
"""Raised whenever a folder of this version could no longer be read by the code before."""

DESCRIPTION = "model.json"
CLASSIFIER = "classifier.safetensors"

_OF_THE_RUN = ("batch_seconds", "cache", "device", "n_jobs", "on_error", "verbose")
"""Parameters that change how features are computed and not what they are."""


def save_model(
    pipeline: Pipeline, folder: str | os.PathLike[str], *, overwrite: bool = False, about: dict[str, Any] | None = None
) -> None:
    """
    Write a fitted pipeline of featuriser and classifier to a folder; nothing is pickled.

    Parameters
    ----------
    pipeline : Pipeline
        Two steps: a featuriser of `gendiffclf.featurizers` and a fitted `GenerativeTransportClassifier`.
    folder : path-like
        Appears under its name only when it is complete.
    overwrite : bool, default=False
        Whether a model that is there may be replaced.
    about : dict, optional
        What else to keep beside it, of types that JSON knows: how many clips it learnt from, say.

    Raises
    ------
    ValueError
        If the folder exists and `overwrite` is false, or it is no folder of a model.
    TypeError
        If the pipeline has other steps, or a parameter that JSON cannot hold.

    Notes
    -----
    `model.json` records the featuriser's parameters and what identifies its weights; those of a hub name are pinned to
    the commit that is in use. The encoder's weights are not copied. `classifier.safetensors` is what
    `GenerativeTransportClassifier.save` writes. The names of the speakers that `train` learnt from are recorded, so that
    `evaluate_fitted` can warn of them.

    Examples
    --------
    >>> from gendiffclf.speech import load_model, save_model
    >>> save_model(pipeline, "model")  # doctest: +SKIP
    >>> pipeline = load_model("model")  # doctest: +SKIP
    """
    featurizer, classifier = _steps(pipeline)
    folder = Path(folder)
    if folder.exists() and not (overwrite and (folder / DESCRIPTION).is_file()):
        expected = "a new folder" if not overwrite else f"a new folder or one of a model, with {DESCRIPTION}"
        remedy = "; overwrite=True replaces a model" if not overwrite else ""
        raise ValueError(f"Got folder={str(folder)!r}, which exists, expected {expected}{remedy}.")
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": VERSION,
        "featurizer": describe_featurizer(featurizer),
        "classifier": CLASSIFIER,
        "classes": [_plain(label) for label in classifier.classes_],
        "about": about or {},
    }
    if hasattr(pipeline, "speakers_"):
        description["speakers"] = list(pipeline.speakers_)
    text = json.dumps(description, indent=1) + "\n"
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        classifier.save(temporary / CLASSIFIER)
        (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
            os.rename(folder, old)  # a folder that is not empty cannot be replaced in one move
            os.rename(temporary, folder)
            shutil.rmtree(old)
        else:
            os.rename(temporary, folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(temporary)


def load_model(folder: str | os.PathLike[str], **changes: Any) -> Pipeline:
    """
    Read a folder that `save_model` wrote.

    Parameters
    ----------
    folder : path-like
        The model's folder.
    **changes
        Parameters of the featuriser to set: `device`, `cache`, `n_jobs`, or `model`, the place of the same weights on this
        machine.

    Returns
    -------
    pipeline : Pipeline
        Steps `featurizer` and `classifier`, ready to predict; `speakers_` as of `train`, if the folder records them.

    Raises
    ------
    ValueError
        If the folder holds no model, one of a newer format, or its features are not those that were learnt from.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        version = description["format_version"] if description["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Got folder={str(folder)!r} without a readable {DESCRIPTION}, expected one that save_model or "
            "`gendiffclf train` wrote."
        ) from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(
            f"Got {folder / DESCRIPTION} of format {description['format']!r}, version {version}, expected {FORMAT!r}, "
            f"at most {FORMAT_VERSION}; upgrade gendiffclf."
        )
    recorded = description["featurizer"]
    if recorded["kind"] not in FEATURIZERS:
        raise ValueError(f"Got featurizer {recorded['kind']!r} in {folder}, expected one of {', '.join(FEATURIZERS)}.")
    featurizer = FEATURIZERS[recorded["kind"]](**{**recorded["parameters"], **changes})
    found = describe_featurizer(featurizer)["identity"]
    different = sorted(name for name in recorded["identity"] if found.get(name) != recorded["identity"][name])
    if different:
        raise ValueError(
            f"Got features with another {', '.join(different)} than the classifier in {folder} learnt from, expected "
            f"the same; set model to the folder of the same weights ({recorded['parameters'].get('model')})."
        )
    classifier = GenerativeTransportClassifier.load(folder / description["classifier"])
    pipeline = Pipeline([("featurizer", featurizer), ("classifier", classifier)])
    if "speakers" in description:
        pipeline.speakers_ = description["speakers"]
    return pipeline


def describe_featurizer(featurizer: SpeechFeaturizer) -> dict[str, Any]:
    """Kind, parameters and identity of a featuriser, as JSON."""
    kind = next((name for name, cls in FEATURIZERS.items() if type(featurizer) is cls), None)
    if kind is None:
        raise TypeError(f"Got {type(featurizer).__name__}, expected a featuriser in FEATURIZERS; add it there.")
    encoder = featurizer._encoders()[0]
    parameters = {n: v for n, v in featurizer.get_params(deep=False).items() if n not in _OF_THE_RUN}
    if "revision" in parameters:
        parameters["revision"] = encoder.checkpoint.revision  # type: ignore[attr-defined]
    # Precision may follow the device, on which the model need not stay.
    identity = {name: value for name, value in encoder.identity.items() if name != "precision"}
    return {"kind": kind, "parameters": {n: _parameter(n, v) for n, v in parameters.items()}, "identity": identity}


def _steps(pipeline: Any) -> tuple[SpeechFeaturizer, GenerativeTransportClassifier]:
    steps = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else [pipeline]
    if (
        len(steps) != 2
        or not isinstance(steps[0], SpeechFeaturizer)
        or not isinstance(steps[1], GenerativeTransportClassifier)
    ):
        names = " -> ".join(type(step).__name__ for step in steps)
        raise TypeError(
            f"Got pipeline {names}, expected a featuriser and a GenerativeTransportClassifier; others go into a pickle."
        )
    return steps[0], steps[1]


def _parameter(name: str, value: Any) -> Any:
    value = os.fspath(value) if isinstance(value, os.PathLike) else _plain(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_parameter(name, part) for part in value]
    raise TypeError(
        f"Got {name} of type {type(value).__name__}, expected a number, a text or a list; give a loaded model by the "
        "folder it was saved in."
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
