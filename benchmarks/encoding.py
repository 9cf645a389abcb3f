"""Seconds of speech encoded a second: ours, transformers in padded batches and clip by clip, and ours from its cache."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gendiffclf import HubertFeaturizer

from .options import add_options
from .records import RESULTS, load_average, new_record, read_record, write_record
from .runner import timed

RECORD = RESULTS / "encoding.json"
RATE = 16000
SIZES: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
        "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
    },
}  # fmt: skip
"""Of `HubertConfig`; weights are random, which speed does not depend on."""
MEDIAN_SECONDS, SPREAD, SHORTEST, LONGEST = 3.5, 0.6, 1.0, 12.0
"""Lengths of clips: log-normal, cut off; the spread is the standard deviation of the logarithm."""
TOLERANCE = 1e-5
"""How far ours may be from clip by clip, relative to the length of the feature vector: what the featuriser promises."""
RATIOS = (("ours", "single"), ("ours", "padded"), ("bfloat16", "single"), ("bfloat16", "padded"), ("cached", "ours"))

Rows = NDArray[np.float32]
Method = Callable[[list[Path]], Rows]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--device", default="cpu", help="where encoders run (default: %(default)s)")
    parser.add_argument("--size", choices=SIZES, default="base", help="of the encoder (default: %(default)s)")
    parser.add_argument("--n-clips", type=int, default=64, help="clips to encode (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="clips of a padded batch (default: %(default)s)")
    add_options(parser, RECORD, "--rounds")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record; the exit status is 1 where features differ."""
    import torch

    from gendiffclf.featurizers.encoder import encoding_session

    for name in ("n_clips", "rounds", "batch_size"):
        if getattr(arguments, name) < 1:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"Got {option} {getattr(arguments, name)}, expected an integer >= 1.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model", arguments.size)
        paths = make_clips(folder / "clips", arguments.n_clips)
        seconds = [path.stat().st_size / (2 * RATE) for path in paths]
        methods = make_methods(model, folder / "cache", arguments.device, arguments.batch_size)
        with encoding_session({arguments.device.partition(":")[0]}):
            # A first pass of each fills the cache and is not timed: it also loads weights and meets every length.
            reference = methods["single"](paths)
            differences = {
                way: difference(method(paths), reference) for way, method in methods.items() if way != "single"
            }
            rounds = measure(methods, paths, arguments.rounds)
    clips = {"count": len(paths), "seconds": sum(seconds)}
    record = new_record(
        arguments.command_line,
        **{name: getattr(arguments, name) for name in ("device", "size", "batch_size")},
        n_threads=torch.get_num_threads(),
        clips=clips | {f"{name}_seconds": value for name, value in spread(seconds).items()},
        differences=differences,
        rounds=rounds,
    )
    write_record(record, arguments.output)
    wrong = {way: differences[way]["max"] for way in ("ours", "cached") if not differences[way]["max"] <= TOLERANCE}
    for way, largest in wrong.items():
        print(f"{way}: features differ from clip by clip by {largest:.1e}, expected at most {TOLERANCE:.0e}")
    return int(bool(wrong))


def spread(values: Any) -> dict[str, float]:
    """Median, least and most."""
    return {"median": float(np.median(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def make_model(folder: Path, size: str) -> Path:
    """Save a HuBERT of random weights and its preprocessor."""
    import torch
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        HubertModel(HubertConfig(**SIZES[size])).save_pretrained(folder)
    # Models with group norm were trained without a mask.
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return folder


def make_clips(folder: Path, count: int) -> list[Path]:
    """Write noise of mixed lengths as 16-bit WAV files; what a clip holds makes no difference to speed."""
    import soundfile

    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(MEDIAN_SECONDS), SPREAD, count), SHORTEST, LONGEST)
    folder.mkdir(parents=True)
    paths = [folder / f"{i:05}.wav" for i in range(count)]
    for path, seconds in zip(paths, lengths, strict=True):
        soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * RATE)), RATE, subtype="PCM_16")
    return paths


def make_methods(folder: Path, cache: Path, device: str, batch_size: int) -> dict[str, Method]:
    """The ways to encode with a checkpoint, by name; each gives the mean over frames of every layer, (n, layers, d)."""
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(folder).eval().to(device)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    half = {"bfloat16": HubertFeaturizer(folder, device=device, precision="bfloat16", cache=None).transform}
    return {
        "ours": HubertFeaturizer(folder, device=device, cache=None).transform,
        **(half if device.startswith("cuda") else {}),
        "single": lambda paths: encode_padded(model, extractor, paths, 1),
        "padded": lambda paths: encode_padded(model, extractor, paths, batch_size),
        "cached": HubertFeaturizer(folder, device=device, cache=cache).transform,
    }


def encode_padded(model: Any, extractor: Any, paths: list[Path], batch_size: int) -> Rows:
    """
    Encode with transformers alone, in the order given: read, pad, call the model, take means over each clip's frames.

    Returns
    -------
    features : ndarray of shape (n, layers, d), float32
    """
    import soundfile
    import torch

    rows = []
    for begin in range(0, len(paths), batch_size):
        waves = [soundfile.read(path, dtype="float32")[0] for path in paths[begin : begin + batch_size]]
        inputs = extractor(waves, sampling_rate=RATE, padding=True, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            output = model(**inputs, output_hidden_states=True)
            states = (*output.hidden_states[:-1], output.last_hidden_state)
            if len(waves) == 1:
                means = [state.mean(dim=1) for state in states]
            else:
                lengths = torch.tensor([len(wave) for wave in waves], device=model.device)
                count = model._get_feat_extract_output_lengths(lengths)[:, None]  # (batch, 1)
                own = (torch.arange(states[0].shape[1], device=model.device) < count)[:, :, None]
                means = [(state * own).sum(dim=1) / count for state in states]  # (batch, frames, d) -> (batch, d)
            rows.append(torch.stack(means, dim=1).cpu().numpy())  # (batch, layers, d)
    return np.concatenate(rows)


def measure(methods: dict[str, Method], paths: list[Path], n_rounds: int) -> list[dict[str, Any]]:
    """Seconds of every way in each round, which begins with another, by the clock and of the processors, and the load."""
    rounds = []
    names = list(methods)
    for turn in range(n_rounds):
        found: dict[str, Any] = {"load": load_average(), "seconds": {}, "cpu_seconds": {}}
        for name in np.roll(names, -turn).tolist():
            found["seconds"][name], found["cpu_seconds"][name], _ = timed(partial(methods[name], paths))
            print(f"round {turn} {name}: {found['seconds'][name]:.2f} s", flush=True)
        rounds.append(found)
    return rounds


def difference(rows: Rows, reference: Rows) -> dict[str, float]:
    """Distance of a clip's layer from that of the reference, relative to the latter's length: the largest and the median."""
    distance = np.linalg.norm(rows.astype(np.float64) - reference, axis=-1)  # (n, layers, d) -> (n, layers)
    found = spread(distance / np.linalg.norm(reference.astype(np.float64), axis=-1))
    return {name: found[name] for name in ("max", "median")}


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    record = read_record(results / RECORD.name)
    if record is None:
        return {}
    seconds = pd.DataFrame([found["seconds"] for found in record["rounds"]])
    speeds = record["clips"]["seconds"] / seconds
    ratios = pd.DataFrame(
        {f"{fast} against {slow}": seconds[slow] / seconds[fast] for fast, slow in RATIOS if fast in seconds}
    )
    on_cpu, n_threads = record["device"].startswith("cpu"), record["n_threads"]
    threads = f"the CPU with {n_threads} {'thread' if n_threads == 1 else 'threads'}"
    distances = {way: f"{own['max']:.1e} ({own['median']:.1e})" for way, own in record["differences"].items()}
    return {
        "record": record,
        "device": "CPU" if on_cpu else record["device"].partition(":")[0].upper(),
        "where": threads if on_cpu else record["environment"]["hardware"]["gpu"] or record["device"],
        "speeds": [[way, _range(speeds[way]), distances.get(way, "–")] for way in speeds],
        "ratios": [[what, _range(ratios[what])] for what in ratios],
    }


def _range(values: pd.Series) -> str:
    digits = 0 if values.median() >= 100 else 2
    return f"{values.median():.{digits}f} ({values.min():.{digits}f}–{values.max():.{digits}f})"
