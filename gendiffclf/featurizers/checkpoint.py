"""Pretrained speech encoders from the hub, a folder or memory: configuration, fingerprint and weights."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..optional import require

if TYPE_CHECKING:
    import torch
    from torch import nn

# Entries of a configuration that do not change the model.
IRRELEVANT_SETTINGS = ("transformers_version", "architectures", "dtype", "torch_dtype")

_loaded: dict[tuple[str, str, str], nn.Module] = {}
_loading = threading.Lock()
_file_digests: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """
    A speech encoder whose weights are loaded on demand.

    `sampling_rate` of its input is in Hz; with `do_normalize`, clips are standardised before they are encoded. Equal fingerprints
    mean equal architecture and weights. `source` is a folder, a hub name, or a loaded model; `revision` the commit of a hub name.
    """

    config: Any
    sampling_rate: int
    do_normalize: bool
    fingerprint: str
    source: Any
    revision: str | None = None

    def load(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """
        Return the model on `device` in `dtype`, in evaluation mode.

        Models loaded by name are cached in the process, so that the clones of a grid search share them. A model that the caller
        loaded is never changed: it is used as it is, or copied if device, precision or mode differ.
        """
        if not isinstance(self.source, str):
            first = next(self.source.parameters())
            same_device = first.device == device or (device.index is None and first.device.type == device.type)
            if same_device and first.dtype == dtype and not self.source.training:
                return self.source
            return copy.deepcopy(self.source).to(device=device, dtype=dtype).eval()
        key = (self.fingerprint, str(device), str(dtype))
        with _loading:
            if key not in _loaded:
                for other in [k for k in _loaded if k[0] != self.fingerprint]:
                    del _loaded[other]
                _loaded[key] = _load(self.source, self.revision).to(device=device, dtype=dtype).eval()
            return _loaded[key]


def release_encoders() -> None:
    """Free the memory of the encoders that this process keeps loaded for the next call."""
    with _loading:
        _loaded.clear()


def open_checkpoint(model: Any, revision: str | None, do_normalize: bool | str) -> Checkpoint:
    """Read the configuration of an encoder, given as for `HubertFeaturizer`, without loading its weights."""
    require("transformers")
    if not isinstance(model, str | os.PathLike):
        if not hasattr(model, "config") or not hasattr(model, "parameters"):
            raise ValueError(f"Got model of type {type(model).__name__}, expected a name, a folder or a loaded model.")
        config, source, commit = model.config, without_head(model), None
        preprocessor = _preprocessor(getattr(config, "_name_or_path", ""), None, offline=True)
        fingerprint = _module_fingerprint(source)
    elif os.path.isdir(model):
        if revision is not None:
            raise ValueError(
                f"Got revision={revision!r} with a folder, expected None; a revision belongs to a hub name."
            )
        config, source, commit = _config(os.fspath(model), None), os.fspath(model), None
        preprocessor = _preprocessor(source, None)
        fingerprint = _folder_fingerprint(Path(model))
    else:
        config, preprocessor, commit = _open_hub_name(os.fspath(model), revision)
        source, fingerprint = os.fspath(model), f"{model}@{commit}"
    name = model if isinstance(model, str | os.PathLike) else type(model).__name__
    if not getattr(config, "conv_kernel", None):
        raise ValueError(
            f"Got model={str(name)!r} of type {config.model_type!r}, expected an encoder of waveforms: HuBERT, WavLM, "
            "wav2vec 2.0, Data2Vec-audio, UniSpeech or UniSpeech-SAT."
        )
    if getattr(config, "add_adapter", False):
        raise ValueError(f"Got model={str(name)!r} with add_adapter=True, expected an encoder without an adapter.")
    if do_normalize == "auto":
        if preprocessor is None:
            do_normalize = getattr(config, "feat_extract_norm", "layer") == "layer"
            warnings.warn(
                f"Got model={str(name)!r} without preprocessor_config.json; do_normalize='auto' becomes {do_normalize}, "
                "which its architecture suggests. Set do_normalize to what the model was trained with.",
                stacklevel=2,
            )
        else:
            do_normalize = bool(preprocessor.get("do_normalize", True))
    rate = int((preprocessor or {}).get("sampling_rate", 16000))
    return Checkpoint(config, rate, bool(do_normalize), fingerprint, source, commit)


def without_head(model: Any) -> Any:
    """Return the encoder of a loaded model with a head, such as one for CTC; others are returned as they are."""
    return getattr(model, getattr(model, "base_model_prefix", ""), model)


@functools.lru_cache(maxsize=16)
def _open_hub_name(name: str, revision: str | None) -> tuple[Any, dict[str, Any] | None, str]:
    """Configuration, preprocessor and commit of a hub name, resolved once per process."""
    from transformers.utils.hub import cached_file

    config = _config(name, revision)
    # The hub's cache stores each commit in snapshots/<commit>; not every version of transformers keeps the commit in the
    # configuration.
    commit = Path(str(cached_file(name, "config.json", revision=revision or "main"))).parent.name
    return config, _preprocessor(name, commit), commit


def _config(name: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, revision=revision or "main")
    except (OSError, ValueError) as error:
        received = f"model={name!r}" + ("" if revision is None else f", revision={revision!r}")
        raise type(error)(f"Got {received}, expected a hub name or the folder of a speech encoder: {error}") from error


def _preprocessor(name: str, revision: str | None, offline: bool = False) -> dict[str, Any] | None:
    from transformers import AutoFeatureExtractor

    if not name:
        return None
    try:
        return AutoFeatureExtractor.from_pretrained(
            name, revision=revision or "main", local_files_only=offline
        ).to_dict()
    except (OSError, ValueError):
        return None


def _load(source: str, revision: str | None) -> nn.Module:
    from transformers import AutoModel

    with quiet_progress():
        model, report = AutoModel.from_pretrained(source, revision=revision or "main", output_loading_info=True)
    # The mask embedding is only used in training; older versions report both names of weight-normalised convolutions.
    ignored = ("masked_spec_embed", "parametrizations.weight.original0", "parametrizations.weight.original1")
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(ignored))
    if missing:
        raise ValueError(
            f"Got model={source!r} without weights for {missing[:3]} ({len(missing)} in all), expected a complete "
            "speech encoder; random weights would give meaningless features."
        )
    return model


@contextlib.contextmanager
def quiet_progress() -> Iterator[None]:
    """Disable the progress bars of transformers."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _module_fingerprint(model: Any) -> str:
    """Architecture and weight hash of a loaded model; not cached, since training changes the weights."""
    settings = {
        k: v for k, v in model.config.to_dict().items() if k not in IRRELEVANT_SETTINGS and not k.startswith("_")
    }
    return json.dumps(settings, sort_keys=True, default=str) + weights_digest(model)


def weights_digest(model: nn.Module) -> str:
    """Hash of a model's weights; the same for half precision and float32 copies of it, which hold the same numbers."""
    import torch

    state = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        state.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        state.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def _folder_fingerprint(folder: Path) -> str:
    """Hash of the files of a local checkpoint that its features depend on."""
    state = hashlib.blake2b(digest_size=20)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".pt") or path.name in ("config.json", "preprocessor_config.json"):
            state.update(f"{path.name} {_file_digest(path)}".encode())
    return state.hexdigest()


def _file_digest(path: Path) -> str:
    """Hash of a file, cached while its size and modification time stay the same."""
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _file_digests:
        with open(path, "rb") as file:
            _file_digests[key] = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
    return _file_digests[key]
