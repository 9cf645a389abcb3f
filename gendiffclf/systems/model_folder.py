"""Fitted systems as folders: weights in safetensors, everything else in JSON, nothing pickled."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from .._version import VERSION
from ..featurizers import FEATURIZERS, SpeechFeaturizer
from ..files import complete_folder, create_parent
from ..validation import shown

FORMAT = "gendiffclf.system"
FORMAT_VERSION = 1
"""Incremented when earlier code cannot read the folders any more."""

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"

RUNTIME_PARAMETERS = (
    "batch_seconds",
    "cache",
    "checkpoints",
    "device",
    "distributed",
    "encode",
    "n_jobs",
    "on_error",
    "verbose",
)
"""Parameters that depend on the machine and not on the model; they are not saved."""


def save_system(
    folder: str | os.PathLike[str],
    kind: str,
    parameters: Mapping[str, Any],
    fitted: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    overwrite: bool = False,
) -> None:
    """
    Save a fitted system of the class `kind` to a folder, which is written under a temporary name and renamed when complete.

    Of the `parameters`, from `get_params(deep=False)`, featurisers of `FEATURIZERS` and paths are converted to JSON,
    `RUNTIME_PARAMETERS` are left out, and a random generator becomes None; a TypeError for others, such as a loaded model.
    `fitted` holds attributes of JSON types or NumPy's; `weights` may be on any device. A ValueError if the folder exists, unless
    it holds a system and `overwrite` is True.
    """
    folder = check_new_folder("folder", folder, overwrite)
    content = {"kind": kind, "parameters": plain_parameters(parameters), "fitted": _plain(fitted)}
    with complete_folder(folder) as temporary:
        # Copies, since safetensors rejects weights that share memory, such as tied embeddings.
        copies = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
        safetensors.torch.save_file(copies, temporary / WEIGHTS)
        write_description(temporary, FORMAT, FORMAT_VERSION, content)


def load_system(folder: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """
    Load parameters, fitted attributes and weights (on the CPU) from a folder that `save_system` wrote for the class `kind`.

    Featurisers are constructed again; arrays and tuples become lists. A ValueError if the folder holds no system, a system of
    another class, or one of another format.
    """
    folder = Path(folder)
    description = read_description(folder, FORMAT, FORMAT_VERSION, f"{kind}.save")
    if description.get("kind") != kind:
        raise ValueError(
            f"Got {folder / DESCRIPTION} of kind {shown(description.get('kind'))}, expected {kind!r}; load it with its own class."
        )
    parameters = {name: _restored(value) for name, value in description["parameters"].items()}
    return parameters, description["fitted"], safetensors.torch.load_file(folder / WEIGHTS)


def write_description(folder: Path, form: str, version: int, content: Mapping[str, Any]) -> None:
    """Write the description of a model, with the name and version of its format, to its folder."""
    head = {"format": form, "format_version": version, "package_version": VERSION}
    (folder / DESCRIPTION).write_text(json.dumps({**head, **content}, indent=1) + "\n", encoding="utf-8")


def read_description(folder: Path, form: str, version: int, writer: str) -> dict[str, Any]:
    """Read what `write_description` wrote; a ValueError if it is missing, damaged or of another format or version."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        found = description["format"], description["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Got folder={str(folder)!r} without a readable {DESCRIPTION}, expected one that {writer} wrote."
        ) from error
    if found != (form, version):
        raise ValueError(
            f"Got {folder / DESCRIPTION} of format {shown(found[0])}, version {shown(found[1])}, expected {form!r}, version "
            f"{version}; load it with the class that saved it, upgrade gendiffclf, or train the model again."
        )
    return dict(description)


def check_new_folder(name: str, folder: str | os.PathLike[str], overwrite: bool) -> Path:
    """Return the path of a folder that a model can be saved to; errors call it by the `name` of its parameter or option."""
    folder = Path(folder)
    if folder.exists() and not (overwrite and (folder / DESCRIPTION).is_file()):
        expected = f"a new folder or one of a model, with {DESCRIPTION}" if overwrite else "a new folder"
        remedy = "" if overwrite else "; overwrite=True (--overwrite) replaces a model"
        raise ValueError(f"Got {name}={str(folder)!r}, which exists, expected {expected}{remedy}.")
    create_parent(name, folder)
    return folder


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert parameters to JSON types, without `RUNTIME_PARAMETERS`."""
    return _plain({name: value for name, value in parameters.items() if name not in RUNTIME_PARAMETERS})


def featurizer_kind(featurizer: SpeechFeaturizer) -> str:
    """Return a featuriser's name in `FEATURIZERS`, or raise a TypeError."""
    kind = next((key for key, cls in FEATURIZERS.items() if type(featurizer) is cls), None)
    if kind is None:
        raise TypeError(f"Got {type(featurizer).__name__}, expected a featuriser in FEATURIZERS; register it there.")
    return kind


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to JSON types."""
    return {
        name: json.loads(json.dumps(value, default=functools.partial(_converted, name)))
        for name, value in values.items()
    }


def _converted(name: str, value: Any) -> Any:
    """Convert one level of a value that JSON lacks, or raise a TypeError."""
    if isinstance(value, SpeechFeaturizer):
        return {"featurizer": featurizer_kind(value), "parameters": plain_parameters(value.get_params(deep=False))}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return None
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(
        f"Got {name} of type {type(value).__name__}, expected a number, a string or a list; pass a loaded model by the "
        "folder that it was saved in."
    )


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and "featurizer" in value:
        return FEATURIZERS[value["featurizer"]](**value["parameters"])
    return value
