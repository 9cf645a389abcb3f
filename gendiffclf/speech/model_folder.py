"""Fitted pipelines as folders: classifiers without pickles, and a description of the featuriser in JSON."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from ..classifier import GenerativeTransportClassifier
from ..device import resolve_device
from ..featurizers import FEATURIZERS, SpeakerNormalizer, SpeechFeaturizer
from ..files import complete_folder
from ..optional import require
from ..systems.model_folder import (
    DESCRIPTION,
    WEIGHTS,
    check_new_folder,
    featurizer_kind,
    plain_parameters,
    read_description,
    write_description,
)
from .provenance import as_json

FORMAT = "gendiffclf.speech"
FORMAT_VERSION = 2
"""Incremented when earlier code cannot read the folders any more."""

SYSTEMS = {"EmoSphereRegressor": "emosphere", "SelmClassifier": "selm"}
"""Estimators that save themselves to a subfolder, and their modules."""

ENCODER = "encoder"

RUNTIME = ("cache", "device", "n_jobs", "verbose")
"""Parameters that a model may have without a featuriser, and that do not change its predictions."""

_TRAINING_DATA = ("speakers", "clips")
"""Attributes of the training data that `train` sets, without the trailing underscore."""


def save_model(
    pipeline: Pipeline,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    copy_encoder: bool = False,
    about: dict[str, Any] | None = None,
) -> None:
    """
    Save a fitted pipeline to a folder; nothing is pickled.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser of `gendiffclf.featurizers`, unless features were precomputed, and fitted steps.
        `GenerativeTransportClassifier` and `SpeakerNormalizer` have formats of their own, other steps are saved with skops.
    folder : path-like
        Written under a temporary name, and renamed when it is complete.
    overwrite : bool, default=False
        Whether to replace an existing model.
    copy_encoder : bool, default=False
        Whether to copy the local folder of a speech encoder into that of the model, as is done in any case if it is in the
        folder to be replaced. Otherwise its path is recorded, also relative to the model's folder, so that both can be moved
        together.
    about : dict, optional
        Additional information to save, as JSON types.

    Raises
    ------
    ValueError
        If the folder exists and may not be replaced, or cannot be created.
    TypeError
        If a parameter of the featuriser cannot be converted to JSON.

    Notes
    -----
    `model.json` records the featuriser's parameters and the identity of its weights; a hub name is pinned to the commit in
    use. It also holds checksums of the files of all steps, the names of the training speakers, and digests of the training
    clips, so that `evaluate_fitted` can warn of them. The function of a `FunctionFeaturizer` is not saved.

    Examples
    --------
    >>> from gendiffclf.speech import load_model, save_model
    >>> save_model(pipeline, "model")  # doctest: +SKIP
    >>> pipeline = load_model("model")  # doctest: +SKIP
    """
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"Got {type(pipeline).__name__}, expected a Pipeline, as returned by `train`.")
    first = pipeline.steps[0][1]
    featurizer = first if isinstance(first, SpeechFeaturizer) else None
    steps = pipeline.steps if featurizer is None else pipeline.steps[1:]
    recorded = None if featurizer is None else {"name": pipeline.steps[0][0], **describe_featurizer(featurizer)}
    folder = check_new_folder("folder", folder, overwrite)
    with complete_folder(folder) as temporary:
        if recorded is not None:
            recorded |= _save_encoder(recorded["parameters"], folder, temporary, copy_encoder)
        description = {
            "featurizer": recorded,
            "steps": [_save_step(name, step, temporary) for name, step in steps],
            "classes": _outputs(pipeline),
            "about": about or {},
        }
        for name in _TRAINING_DATA:
            if hasattr(pipeline, f"{name}_"):
                description[name] = list(getattr(pipeline, f"{name}_"))
        write_description(temporary, FORMAT, FORMAT_VERSION, description)


def load_model(folder: str | os.PathLike[str], *, trusted: Sequence[str] = (), **changes: Any) -> Pipeline:
    """
    Load a pipeline from a folder that `save_model` wrote.

    Parameters
    ----------
    folder : path-like
        Folder of the model.
    trusted : sequence of str, default=()
        Types, besides those of scikit-learn and NumPy, that skops may construct.
    **changes
        Parameters of the featuriser to set: `cache`, `n_jobs`; `model`, if the same weights have another path here; `encode`, the
        function of a `FunctionFeaturizer`. `device` is set in all steps that have it; of several devices, only a featuriser
        uses more than the first. Without a featuriser, `cache`, `device`, `n_jobs` and `verbose` are set in all steps.

    Returns
    -------
    pipeline : Pipeline
        Ready to predict; with `speakers_` and `clips_`, as from `train`, if they were saved.

    Raises
    ------
    ValueError
        If the folder holds no model, a damaged one or one of another format, if its encoder is missing, if its features differ
        from those in training, or if a change is unknown or its device is not there.
    """
    folder = Path(folder)
    description = read_description(folder, FORMAT, FORMAT_VERSION, "save_model or `gendiffclf train`")
    try:
        recorded = description["featurizer"]
        steps = [] if recorded is None else [(recorded["name"], _load_featurizer(recorded, folder, changes))]
        later = [(step["name"], _load_step(step, folder, trusted)) for step in description["steps"]]
        _set_runtime([step for _, step in later], changes, alone=not steps)
        steps += later
        pipeline = Pipeline(steps)
        different = _outputs(pipeline) != description["classes"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"Got {folder / DESCRIPTION}, which is damaged ({type(error).__name__}: {error}), expected it as written by "
            "save_model; copy the whole folder again."
        ) from error
    if different:
        raise ValueError(
            f"Got a classifier whose classes differ from those in {folder / DESCRIPTION}, expected the same; copy the whole "
            "folder again."
        )
    for name in _TRAINING_DATA:
        if name in description:
            setattr(pipeline, f"{name}_", description[name])
    return pipeline


def _set_runtime(steps: list[Any], changes: dict[str, Any], *, alone: bool) -> None:
    """Set `device` in the steps after a featuriser, and all changes if they are alone; a ValueError for unknown ones."""
    if alone and (unknown := sorted(set(changes) - set(RUNTIME))):
        option = " (--encoder)" if "model" in unknown else ""
        raise ValueError(
            f"Got {', '.join(unknown)}{option} for a model without a featuriser, expected some of {', '.join(RUNTIME)}."
        )
    values = {name: value for name, value in changes.items() if alone or name == "device"}
    if "device" in values:
        devices = values["device"] if isinstance(values["device"], list | tuple) else [values["device"]]
        if not devices:
            raise ValueError("Got device=[], expected at least one device, or 'auto'.")
        for name in devices:
            resolve_device(name)
        values["device"] = devices[0]
    for step in steps:
        own = step.get_params(deep=False) if hasattr(step, "get_params") else {}
        if taken := {name: value for name, value in values.items() if name in own}:
            step.set_params(**taken)


def _load_featurizer(recorded: dict[str, Any], folder: Path, changes: dict[str, Any]) -> SpeechFeaturizer:
    kind = recorded["kind"]
    if kind not in FEATURIZERS:
        raise ValueError(f"Got featurizer {kind!r} in {folder}, expected one of {', '.join(FEATURIZERS)}.")
    names = FEATURIZERS[kind]._get_param_names()
    if unknown := sorted(set(changes) - {*names, "device"}):
        option = " (--encoder)" if "model" in unknown else ""
        raise ValueError(
            f"Got {', '.join(unknown)}{option} for a model of {kind} features, expected some of {', '.join(names)}."
        )
    if "encode" in names and "encode" not in changes:
        name = recorded["parameters"]["name"]
        raise ValueError(
            f"Got no encode for {folder}, expected the function named {name!r}; pass load_model(..., encode=...)."
        )
    model = {} if "encoder" not in recorded else {"model": _encoder_folder(recorded, folder, changes.get("model"))}
    parameters = {**recorded["parameters"], **changes, **model}
    featurizer = FEATURIZERS[kind](**{name: value for name, value in parameters.items() if name in names})
    identity = featurizer._identity()
    different = sorted(name for name in recorded["identity"] if identity.get(name) != recorded["identity"][name])
    if different:
        raise ValueError(
            f"Got features whose {', '.join(different)} differ from those that the classifier in {folder} was trained on, "
            "expected the same; set model (--encoder) to the folder of the same weights "
            f"({recorded['parameters'].get('model')})."
        )
    return featurizer


def _save_encoder(parameters: dict[str, Any], folder: Path, temporary: Path, copy: bool) -> dict[str, Any]:
    """Copy a local encoder if need be, and return its path relative to the model; empty for other featurisers."""
    model = parameters.get("model")
    if model is None or not os.path.isdir(model):
        return {}
    parameters["model"] = os.path.abspath(model)
    if copy or Path(model).resolve().is_relative_to(folder.resolve()):  # else deleted with it
        shutil.copytree(model, temporary / ENCODER)
        return {"encoder": ENCODER}
    try:
        return {"encoder": os.path.relpath(model, folder)}
    except ValueError:  # on another drive of Windows
        return {"encoder": os.path.abspath(model)}


def _encoder_folder(recorded: dict[str, Any], folder: Path, given: Any) -> Any:
    """Return the given encoder, or the first of the recorded paths that is a folder; never a hub name."""
    if isinstance(given, str | os.PathLike) and not os.path.isdir(given):
        raise ValueError(
            f"Got model={os.fspath(given)!r} for {folder}, whose speech encoder was read from a folder, expected the path of a "
            "folder with the same weights (--encoder)."
        )
    if given is not None:
        return given
    paths = [os.path.normpath(os.path.join(folder, recorded["encoder"])), recorded["parameters"]["model"]]
    for path in paths:
        if os.path.isdir(path):
            return str(path)
    raise ValueError(
        f"Got {folder}, whose speech encoder is neither in {paths[0]} nor in {paths[1]}, expected it there; set model "
        "(--encoder) to its folder."
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
            f"Got {path}, which is missing or does not match {DESCRIPTION}, expected the file saved with it; copy the whole "
            "folder again."
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
            f"Got {path} with the types {unknown}, expected trusted types; if you trust them, pass trusted={unknown}."
        )
    return skops.load(path, trusted=list(trusted))


def _outputs(pipeline: Pipeline) -> Any:
    """Classes of a classifier, or dimensions of a regressor, as JSON types."""
    return as_json(list(getattr(pipeline.steps[-1][1], "dimensions_", None) or pipeline.classes_))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_featurizer(featurizer: SpeechFeaturizer) -> dict[str, Any]:
    """Return kind, parameters and identity of a featuriser as JSON types."""
    parameters = plain_parameters(featurizer.get_params(deep=False))
    if "revision" in parameters:
        parameters["revision"] = featurizer._encoders()[0].checkpoint.revision  # type: ignore[attr-defined]
    return {"kind": featurizer_kind(featurizer), "parameters": parameters, "identity": featurizer._identity()}
