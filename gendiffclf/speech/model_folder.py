"""A fitted pipeline as a folder: classifiers without pickles, and JSON that says which features they want."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from .._version import VERSION
from ..classifier import GenerativeTransportClassifier
from ..featurizers import FEATURIZERS, SpeakerNormalizer, SpeechFeaturizer
from ..optional import require
from ..systems.model_folder import WEIGHTS, complete_folder

FORMAT = "gendiffclf.speech"
FORMAT_VERSION = 2
"""Raised whenever a folder of this version could no longer be read by the code before."""

SYSTEMS = {"EmoSphereRegressor": "emosphere", "SelmClassifier": "selm"}
"""Estimators that write folders of their own, below the pipeline's, and their modules."""

DESCRIPTION = "model.json"
ENCODER = "encoder"

_LEARNT_FROM = ("speakers", "clips")
"""What `train` notes of its corpus, under these names with an underscore."""
_OF_THE_RUN = ("batch_seconds", "cache", "device", "encode", "n_jobs", "on_error", "verbose")
"""Parameters that change how features are computed and not what they are, and functions, which JSON cannot hold."""


def check_new_folder(name: str, folder: str | os.PathLike[str], overwrite: bool) -> Path:
    """
    Refuse, before any work, a place where no model can be written.

    Parameters
    ----------
    name : str
        What messages call the folder.
    folder : path-like
        To be made.
    overwrite : bool
        Whether a model that is there may be replaced.

    Raises
    ------
    ValueError
        If it exists and may not be replaced, or cannot be made.
    """
    folder = Path(folder)
    if folder.exists() and not (overwrite and (folder / DESCRIPTION).is_file()):
        expected = "a new folder" if not overwrite else f"a new folder or one of a model, with {DESCRIPTION}"
        remedy = "; overwrite=True or --overwrite replaces a model" if not overwrite else ""
        raise ValueError(f"Got {name}={str(folder)!r}, which exists, expected {expected}{remedy}.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Got {name}={str(folder)!r}, whose parent cannot be made ({error.strerror}); choose another."
        ) from error
    if not os.access(folder.parent, os.W_OK):
        raise ValueError(f"Got {name}={str(folder)!r} in a folder that is write-protected; choose another.")
    return folder


def save_model(
    pipeline: Pipeline,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    copy_encoder: bool = False,
    about: dict[str, Any] | None = None,
) -> None:
    """
    Write a fitted pipeline to a folder; nothing is pickled.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser of `gendiffclf.featurizers`, if features were not given, and fitted steps. A
        `GenerativeTransportClassifier` and a `SpeakerNormalizer` are written by themselves, others by the package skops.
    folder : path-like
        Appears under its name only when it is complete.
    overwrite : bool, default=False
        Whether a model that is there may be replaced.
    copy_encoder : bool, default=False
        Whether the local folder of a speech encoder is copied into the model's. Without, its place is recorded, relative to
        the model's folder too, so that both can be moved together.
    about : dict, optional
        What else to keep beside it, of types that JSON knows: how many clips it learnt from, say.

    Raises
    ------
    ValueError
        If the folder exists and `overwrite` is false, it is no folder of a model, or cannot be made.
    TypeError
        If a parameter of the featuriser is one that JSON cannot hold.

    Notes
    -----
    `model.json` records the featuriser's parameters and what identifies its weights; those of a hub name are pinned to
    the commit that is in use. It also holds the checksum of each step's file. The names of the speakers that `train` learnt
    from, and digests of their clips, are recorded, so that `evaluate_fitted` can warn of them.
    A function of `FunctionFeaturizer` is not written.

    Examples
    --------
    >>> from gendiffclf.speech import load_model, save_model
    >>> save_model(pipeline, "model")  # doctest: +SKIP
    >>> pipeline = load_model("model")  # doctest: +SKIP
    """
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"Got {type(pipeline).__name__}, expected a Pipeline, as `train` returns.")
    first = pipeline.steps[0][1]
    featurizer = first if isinstance(first, SpeechFeaturizer) else None
    steps = pipeline.steps if featurizer is None else pipeline.steps[1:]
    recorded = None if featurizer is None else {"name": pipeline.steps[0][0], **describe_featurizer(featurizer)}
    folder = check_new_folder("folder", folder, overwrite)
    with complete_folder(folder) as temporary:
        if recorded is not None:
            recorded |= _encoder_place(recorded["parameters"], folder, temporary, copy_encoder)
        description = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "package_version": VERSION,
            "featurizer": recorded,
            "steps": [_save_step(name, step, temporary) for name, step in steps],
            "classes": _answers(pipeline),
            "about": about or {},
        }
        for name in _LEARNT_FROM:
            if hasattr(pipeline, f"{name}_"):
                description[name] = list(getattr(pipeline, f"{name}_"))
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load_model(folder: str | os.PathLike[str], *, trusted: Sequence[str] = (), **changes: Any) -> Pipeline:
    """
    Read a folder that `save_model` wrote.

    Parameters
    ----------
    folder : path-like
        The model's folder.
    trusted : sequence of str, default=()
        Types, besides those of scikit-learn and NumPy, that may be created for steps written by skops.
    **changes
        Parameters of the featuriser to set: `device`, `cache`, `n_jobs`; `model`, the place of the same weights on this
        machine; `encode`, the function of a `FunctionFeaturizer`.

    Returns
    -------
    pipeline : Pipeline
        The steps by their names, ready to predict; `speakers_` and `clips_` as of `train`, if the folder records them.

    Raises
    ------
    ValueError
        If the folder holds no model, a damaged one or one of another format, its encoder is not where it was, or its features
        are not those that were learnt from.
    """
    folder = Path(folder)
    description = _read_description(folder)
    try:
        recorded = description["featurizer"]
        steps = [] if recorded is None else [(recorded["name"], _load_featurizer(recorded, folder, changes))]
        steps += [(step["name"], _load_step(step, folder, trusted)) for step in description["steps"]]
        pipeline = Pipeline(steps)
        different = _answers(pipeline) != description["classes"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"Got {folder / DESCRIPTION}, which is damaged ({type(error).__name__}: {error}), expected it as save_model wrote it."
        ) from error
    if different:
        raise ValueError(f"Got a classifier of other classes than {folder / DESCRIPTION} records, expected the same.")
    for name in _LEARNT_FROM:
        if name in description:
            setattr(pipeline, f"{name}_", description[name])
    return pipeline


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        version = description["format_version"] if description["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Got folder={str(folder)!r} without a readable {DESCRIPTION}, expected one that save_model or "
            "`gendiffclf train` wrote."
        ) from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"Got {folder / DESCRIPTION} of format {description['format']!r}, version {version}, expected {FORMAT!r}, "
            f"version {FORMAT_VERSION}; upgrade gendiffclf, or train the model again."
        )
    return dict(description)


def _load_featurizer(recorded: dict[str, Any], folder: Path, changes: dict[str, Any]) -> SpeechFeaturizer:
    kind = recorded["kind"]
    if kind not in FEATURIZERS:
        raise ValueError(f"Got featurizer {kind!r} in {folder}, expected one of {', '.join(FEATURIZERS)}.")
    known = FEATURIZERS[kind]._get_param_names()
    if unknown := sorted(set(changes) - {*known, "device"}):
        raise ValueError(
            f"Got {', '.join(unknown)} for a model of {kind} features, expected some of {', '.join(known)}."
        )
    if "encode" in known and "encode" not in changes:
        name = recorded["parameters"]["name"]
        raise ValueError(
            f"Got no encode for {folder}, expected the function named {name!r}; pass load_model(..., encode=...)."
        )
    place = {} if "model" in changes or "encoder" not in recorded else {"model": _encoder_folder(recorded, folder)}
    wanted = {name: value for name, value in {**recorded["parameters"], **place, **changes}.items() if name in known}
    featurizer = FEATURIZERS[kind](**wanted)
    found = describe_featurizer(featurizer)["identity"]
    different = sorted(name for name in recorded["identity"] if found.get(name) != recorded["identity"][name])
    if different:
        raise ValueError(
            f"Got features with another {', '.join(different)} than the classifier in {folder} learnt from, expected the same; "
            f"set model, or --encoder, to the folder of the same weights ({recorded['parameters'].get('model')})."
        )
    return featurizer


def _encoder_place(parameters: dict[str, Any], folder: Path, temporary: Path, copy: bool) -> dict[str, Any]:
    """Where a local encoder is, relative to the model; empty for other featurisers."""
    model = parameters.get("model")
    if model is None or not os.path.isdir(model):
        return {}
    parameters["model"] = os.path.abspath(model)
    if copy:
        shutil.copytree(model, temporary / ENCODER)
        return {"encoder": ENCODER}
    try:
        return {"encoder": os.path.relpath(model, folder)}
    except ValueError:  # on another drive of Windows
        return {"encoder": os.path.abspath(model)}


def _encoder_folder(recorded: dict[str, Any], folder: Path) -> str:
    """The first of the recorded places where there is a folder; never a hub name."""
    places = [os.path.normpath(os.path.join(folder, recorded["encoder"])), recorded["parameters"]["model"]]
    for place in places:
        if os.path.isdir(place):
            return str(place)
    raise ValueError(
        f"Got {folder}, whose speech encoder is neither in {places[0]} nor in {places[1]}, expected it there; "
        "set model, or --encoder, to its folder."
    )


def _save_step(name: str, step: Any, folder: Path) -> dict[str, Any]:
    if isinstance(step, SpeakerNormalizer):
        return {"name": name, "kind": "speaker-normalizer", "parameters": step.get_params()}
    if type(step).__name__ in SYSTEMS:
        step.save(folder / name)
        return {"name": name, "kind": type(step).__name__, "file": name, "sha256": _sha256(folder / name / WEIGHTS)}
    if isinstance(step, GenerativeTransportClassifier):
        kind, file = "transport", f"{name}.safetensors"
        step.save(folder / file)
    else:
        kind, file = "skops", f"{name}.skops"
        require("skops.io").dump(step, folder / file)
    return {"name": name, "kind": kind, "file": file, "sha256": _sha256(folder / file)}


def _load_step(recorded: dict[str, Any], folder: Path, trusted: Sequence[str]) -> Any:
    if recorded["kind"] == "speaker-normalizer":
        return SpeakerNormalizer(**recorded["parameters"])
    path = folder / recorded["file"]
    is_system = recorded["kind"] in SYSTEMS
    path = path / WEIGHTS if is_system else path
    if not path.is_file() or _sha256(path) != recorded["sha256"]:
        raise ValueError(
            f"Got {path}, which is missing or not the file that {DESCRIPTION} was written with, expected that one; "
            "copy the model's folder as a whole."
        )
    if is_system:
        module = import_module(f"..systems.{SYSTEMS[recorded['kind']]}", __package__)
        return getattr(module, recorded["kind"]).load(path.parent)
    if recorded["kind"] == "transport":
        return GenerativeTransportClassifier.load(path)
    skops = require("skops.io")
    unknown = sorted(set(skops.get_untrusted_types(file=path)) - set(trusted))
    if unknown:
        raise ValueError(
            f"Got {path} with the types {unknown}, expected trusted ones; if you trust them, pass trusted={unknown}."
        )
    return skops.load(path, trusted=list(trusted))


def _answers(pipeline: Pipeline) -> list[Any]:
    """Labels of a classifier, or what a regressor rates, as JSON."""
    last = pipeline.steps[-1][1]
    return [_plain(answer) for answer in getattr(last, "dimensions_", None) or pipeline.classes_]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
