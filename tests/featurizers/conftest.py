"""Tiny random encoders on disk, clips that are synthesised, and a cache folder for each test."""

import json
import os
import sys

import numpy as np
import pytest
import soundfile

from gendiffclf.featurizers import FEATURIZERS

RATE = 16000
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
PREPROCESSOR = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "sampling_rate": RATE}
# The two architectures of the published checkpoints: group norm over time in the "base" ones, layer norm in the "large".
NORMS = {
    "layer": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    "group": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
}


def tone(seconds, frequency=220.0, rate=RATE, seed=0):
    """A sine in a little noise, float32."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (0.4 * np.sin(2 * np.pi * frequency * time) + 0.02 * noise).astype(np.float32)


def tiny_config(model_type, norm):
    """Configuration of a small encoder of `model_type`."""
    from transformers import AutoConfig

    if model_type == "data2vec-audio":
        return AutoConfig.for_model(model_type, **TINY | {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19})
    return AutoConfig.for_model(model_type, **TINY, **NORMS[norm])


def random_model(config, seed=0):
    """Random weights, with biases and norms away from the zeros and ones that hide mistakes."""
    import torch
    from transformers import AutoModel

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def save_checkpoint(folder, config, seed=0, do_normalize=True):
    """Write weights, configuration and preprocessor as `save_pretrained` does."""
    random_model(config, seed).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR | {"do_normalize": do_normalize}))
    return folder


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Folders of a HuBERT with layer norm and of one with group norm."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {norm: str(save_checkpoint(root / norm, tiny_config("hubert", norm))) for norm in NORMS}


@pytest.fixture(scope="session")
def checkpoint(checkpoints):
    """Folder of a small HuBERT."""
    return checkpoints["layer"]


@pytest.fixture
def clips():
    """Clips of several lengths as `(array, rate)`."""
    return [(tone(0.2 + 0.07 * i, 150 + 40 * i, seed=i), RATE) for i in range(6)]


@pytest.fixture
def files(tmp_path, clips):
    """The clips as paths."""
    paths = [str(tmp_path / f"{i}.wav") for i in range(len(clips))]
    for path, (wave, rate) in zip(paths, clips, strict=True):
        soundfile.write(path, wave, rate, subtype="FLOAT")
    return paths


def quantiles(samples):
    """An encoder that is a function; it stands here so that processes can find it."""
    return np.quantile(samples, [0.1, 0.5, 0.9])


@pytest.fixture(params=FEATURIZERS)
def make(request, checkpoint):
    """A function that makes a featuriser of two dimensions."""
    if request.param == "egemaps":
        pytest.importorskip("opensmile")
    fixed = {
        "acoustic": {"n_mfcc": 10},
        "egemaps": {},
        "fbank": {"n_mels": 20},
        "function": {"encode": quantiles, "name": "quantiles-1", "sampling_rate": RATE},
        "hubert": {"model": checkpoint, "layers": -1, "device": "cpu"},
    }[request.param]
    return lambda **parameters: FEATURIZERS[request.param](**fixed | {"cache": None} | parameters)


@pytest.fixture
def broken(tmp_path):
    """Input and message for everything that can be wrong with a clip, by name."""
    good = tmp_path / "good.wav"
    soundfile.write(good, tone(0.25), RATE)
    content = good.read_bytes()
    soundfile.write(tmp_path / "good.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 40000), RATE)
    flac = (tmp_path / "good.flac").read_bytes()
    files = {
        "empty.wav": b"",
        "noise.wav": bytes(range(256)) * 8,
        "text.mp3": b"this is no audio",
        "cut.wav": content[: len(content) // 2],
        "head.wav": content[:40],
        "cut.flac": flac[: len(flac) // 2],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    soundfile.write(tmp_path / "zero.wav", np.zeros(0, np.float32), RATE)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan, 0], np.float32), RATE, subtype="FLOAT")
    inf = np.array([0.0, np.inf])
    odd = {}
    if sys.platform == "linux":  # elsewhere names are Unicode
        path = tmp_path / os.fsdecode(b"\xff.wav")
        path.write_bytes(content)
        odd["name"] = (path, r"cannot be read as audio \(surrogates not allowed\)")
    return odd | {
        "missing": (tmp_path / "missing.wav", "there is no such file"),
        "folder": (tmp_path, "folder, expected an audio file|cannot be read"),
        "empty": (tmp_path / "empty.wav", r"it is an empty file \(0 bytes\)"),
        "empty bytes": (b"", r"it is an empty file \(0 bytes\)"),
        "not audio": (tmp_path / "noise.wav", "cannot be read as audio"),
        "text": (tmp_path / "text.mp3", r"cannot be read as audio \(Format not recognised\)"),
        "truncated wav": (tmp_path / "cut.wav", "it is truncated: 50% of the samples declared"),
        "header only": (tmp_path / "head.wav", "cannot be read as audio"),
        "truncated flac": (tmp_path / "cut.flac", "decoding failed|truncated"),
        "bytes": (b"\0" * 100, "cannot be read as audio"),
        "zero length file": (tmp_path / "zero.wav", "holds no samples"),
        "zero length array": ((np.zeros(0), RATE), "holds no samples"),
        "NaN file": (tmp_path / "nan.wav", "NaN or infinite"),
        "NaN array": ((np.array([0.0, np.nan]), RATE), "NaN or infinite"),
        "infinite array": ((inf, RATE), "NaN or infinite"),
        "array beyond float32": ((np.array([0.0, 1e200]), RATE), "NaN or infinite"),
        "3-D array": ((np.zeros((2, 3, 4)), RATE), r"shape \(2, 3, 4\)"),
        "0-D array": ((np.zeros(()), RATE), r"shape \(\)"),
        "many channels": ((np.zeros((100, 200)), RATE), "at most 32 channels"),
        "ragged": (([[1.0], [1.0, 2.0]], RATE), "ragged"),
        "rate of zero": ((tone(0.25), 0), "sampling rate is 0"),
        "rate of NaN": ((tone(0.25), float("nan")), "sampling rate is nan"),
        "None": (None, "type NoneType, expected a path"),
        "number": (3.5, "type float, expected a path"),
        "mapping": ({"audio": tone(0.25)}, "mapping with keys"),
        "segment": ((good, 9, 10), "is outside the"),
    }
