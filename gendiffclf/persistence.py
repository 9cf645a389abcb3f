"""A fitted classifier as one file: tensors in safetensors, everything else as JSON in its header; nothing pickled.

The layout is that of safetensors (eight bytes of header length, the header, the tensors), so that any reader of that
format can open the file. The header's metadata holds four strings: `format`, `format_version`, `sha256` and `content`,
a JSON object of the package's version, the parameters and the fitted attributes. The checksum covers every byte of the
file, its own digits counted as zeros.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ._version import VERSION
from .estimators.combination import Combination, ReadOut
from .estimators.gaussian import GaussianEstimator
from .estimators.kernel_estimator import KernelEstimator
from .estimators.logistic import LogisticEstimator
from .estimators.network import NetworkShape, TransportNetwork
from .estimators.ridge import KernelSettings
from .estimators.trees import TreesEstimator
from .files import atomic_file
from .missing import MissingValues
from .novelty import Novelty
from .preprocessing import FeatureScaler
from .tables import TableColumn, TableEncoder
from .transport.exact import ExactPath
from .transport.learned import LearnedPath
from .validation import shown

FORMAT = "gendiffclf.GenerativeTransportClassifier"
FORMAT_VERSION = 15
"""Raised whenever a file of this version could no longer be read by the code before."""

_NO_DIGEST = "0" * 64
_NOT_SAVED = ("_metadata_request", "_sklearn_output_config", "_predictors", "held_out_index_", "held_out_proba_")
"""What scikit-learn adds to estimators for routing and output, copies for other devices and precisions, held-out estimates."""
_DATACLASSES = (
    FeatureScaler,
    MissingValues,
    Novelty,
    TableEncoder,
    TableColumn,
    ReadOut,
    Combination,
    KernelEstimator,
    KernelSettings,
    LogisticEstimator,
    GaussianEstimator,
    TreesEstimator,
    NetworkShape,
    ExactPath,
    LearnedPath,
)

Classifier = TypeVar("Classifier", bound=Any)


def save_classifier(classifier: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted classifier to one file, see `GenerativeTransportClassifier.save`."""
    path = Path(path)
    check_place(path)
    check_labels(classifier.classes_)
    parameters = classifier.get_params(deep=False)
    tensors: dict[str, Tensor] = {}
    content = {
        "package_version": VERSION,
        "parameters": {name: _pack_parameter(name, value) for name, value in parameters.items()},
        "fitted": {
            name: _pack(value, name, tensors)
            for name, value in vars(classifier).items()
            if name not in parameters and name not in _NOT_SAVED
        },
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "sha256": _NO_DIGEST,
        "content": json.dumps(content),
    }
    data = bytearray(safetensors.torch.save(tensors, metadata))
    place = data.index(_digest_field(_NO_DIGEST))
    field = _digest_field(hashlib.sha256(data).hexdigest())
    data[place : place + len(field)] = field
    with atomic_file(path, binary=True) as file:
        file.write(data)


def load_classifier(empty_classifier: Classifier, path: str | os.PathLike[str]) -> Classifier:
    """
    Fill a classifier that is not fitted from a file that `save_classifier` wrote, and return it.

    Its tensors are on the CPU until it predicts.
    """
    data = Path(path).read_bytes()
    content = _checked_content(data, path)
    unknown = sorted(set(content["parameters"]) - set(empty_classifier.get_params(deep=False)))
    if unknown:
        raise ValueError(
            f"Got {path} with the parameters {unknown}, written by gendiffclf {content['package_version']}, expected "
            f"parameters that gendiffclf {VERSION} knows; upgrade gendiffclf."
        )
    tensors = safetensors.torch.load(data)
    empty_classifier.set_params(**{name: _unpack(value, {}) for name, value in content["parameters"].items()})
    try:
        empty_classifier._checked_parameters()
    except ValueError as error:
        raise ValueError(f"{error} {path} may need parts of your own: register them before you load it.") from error
    for name, value in content["fitted"].items():
        setattr(empty_classifier, name, _unpack(value, tensors))
    empty_classifier._predictors = {}
    return empty_classifier


# ------------------------------------------------------------------- the file


def _digest_field(digest: str) -> bytes:
    """The checksum as the header spells it; JSON inside `content` has its quotes escaped, so this occurs once."""
    return f'"sha256":"{digest}"'.encode()


def check_place(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(
            f"Got path={str(path)!r}, which is a folder, expected the name of a file; add one, such as "
            f"{str(path / 'classifier.safetensors')!r}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"Got path={str(path)!r}, expected a file in a folder that exists; create the folder {str(path.parent)!r} first."
        )


def _checked_content(data: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a whole file, once kind, version and checksum are as expected."""
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8:start])["__metadata__"]
        kind, version, digest = metadata["format"], str(metadata["format_version"]), metadata["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Got {path}, which is damaged or not a saved classifier, expected a file written by "
            "GenerativeTransportClassifier.save."
        ) from error
    if kind != FORMAT:
        raise ValueError(f"Got {path} of format {kind!r}, expected {FORMAT!r}.")
    if version.isdecimal() and int(version) != FORMAT_VERSION:
        remedy = "upgrade gendiffclf" if int(version) > FORMAT_VERSION else "fit and save the classifier again"
        raise ValueError(
            f"Got {path} of format version {version}, expected {FORMAT_VERSION}, which gendiffclf {VERSION} reads; {remedy}."
        )
    header = data[:start].replace(_digest_field(digest), _digest_field(_NO_DIGEST), 1)
    checksum = hashlib.sha256(header)
    checksum.update(memoryview(data)[start:])
    if checksum.hexdigest() != digest:
        raise ValueError(
            f"Got {path}, whose contents do not have the checksum in its header: it is damaged; "
            "save the classifier again, or copy the file anew."
        )
    return json.loads(metadata["content"])


# ----------------------------------------------------------------- the values


def check_labels(classes: np.ndarray) -> None:
    """Raise unless labels are of types that files hold."""
    plain = classes.dtype.kind in "iubU" or (classes.dtype.kind == "f" and classes.dtype.itemsize <= 8)
    if not plain and not (classes.dtype == object and all(isinstance(c, str) for c in classes)):
        raise TypeError(
            f"Got labels of dtype {classes.dtype} (the first is {shown(classes[0])}), expected numbers, booleans or "
            "strings; encode them, or use pickle."
        )


def _pack_parameter(name: str, value: Any) -> Any:
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, torch.device):
        return str(value)
    if hasattr(value, "to_list"):  # of pandas and polars
        value = value.to_list()
    tensors: dict[str, Tensor] = {}
    with contextlib.suppress(TypeError):
        packed = _pack(value, name, tensors)
        if not tensors:
            return packed
    raise TypeError(
        f"Got {name}={shown(value)}, expected a number, string, boolean, None, or a list or dict of these; "
        "set another value, or use pickle."
    )


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """
    A value as JSON, its tensors put aside under their place in it.

    Numbers, strings, booleans, None, lists and dicts of string keys are themselves; everything else is an object with
    the one key `"__<kind>__"`.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        # Matrix products round by the order of memory: a transposed matrix comes back transposed.
        transposed = value.dim() > 1 and not value.is_contiguous()
        plain = value.detach().cpu().mT if transposed else value.detach().cpu()
        tensors[name] = plain.clone(memory_format=torch.contiguous_format)  # tensors in a file must not share memory
        return {"__transposed__" if transposed else "__tensor__": name}
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and value.ndim > 1:
            tensors[name] = torch.from_numpy(np.array(value, order="C"))
            return {"__array__": name}
        return {"__values__": {"dtype": value.dtype.str, "values": [_pack(v, name, tensors) for v in value.tolist()]}}
    if isinstance(value, list):
        return [_pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"__tuple__": [_pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, dict):
        packed = [(_pack(k, name, {}), _pack(v, f"{name}.{k}", tensors)) for k, v in value.items()]
        if all(isinstance(k, str) and not k.startswith("__") for k, _ in packed):
            return dict(packed)
        return {"__pairs__": packed}
    if type(value) in _DATACLASSES:
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {f"__{type(value).__name__}__": _pack(own, name, tensors)}
    if isinstance(value, TransportNetwork):
        return {"__TransportNetwork__": _pack({"shape": value.shape, "state": value.state_dict()}, name, tensors)}
    raise TypeError(f"Got {name} of type {type(value).__name__}, expected numbers, strings, arrays or tensors.")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What `_pack` packed."""
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    kind = next(iter(value), "")
    if not kind.startswith("__"):
        return {k: _unpack(v, tensors) for k, v in value.items()}
    return _UNPACKERS[kind](value[kind], tensors)


def _unpack_object(kind: type, value: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    return kind(**_unpack(value, tensors))


def _unpack_network(value: dict[str, Any], tensors: dict[str, Tensor]) -> TransportNetwork:
    parts = _unpack(value, tensors)
    network = TransportNetwork(parts["shape"], parts["state"]["lift"].numpy()).to(parts["state"]["lift"].dtype)
    network.load_state_dict(parts["state"])
    return network.requires_grad_(False)


_UNPACKERS: dict[str, Callable[[Any, dict[str, Tensor]], Any]] = {
    # Copies, since those read from a file are aligned as the file has it, which products may round by, too.
    "__tensor__": lambda name, tensors: tensors[name].clone(),
    "__transposed__": lambda name, tensors: tensors[name].clone().mT,
    "__array__": lambda name, tensors: tensors[name].clone().numpy(),
    "__values__": lambda value, tensors: np.array(value["values"], dtype=value["dtype"]),
    "__tuple__": lambda items, tensors: tuple(_unpack(items, tensors)),
    "__pairs__": lambda pairs, tensors: {k: _unpack(v, tensors) for k, v in pairs},
    "__TransportNetwork__": _unpack_network,
    **{f"__{kind.__name__}__": functools.partial(_unpack_object, kind) for kind in _DATACLASSES},
}
