"""Seconds and memory that `timeline` takes for recordings made of RAVDESS clips, with log-mel features."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier

from .memory import added_memory
from .options import add_options
from .records import RESULTS, load_average, new_record, read_record, write_record
from .runner import timed

RECORD = RESULTS / "timeline.json"
RATE = 16000
PAUSE_SECONDS = 0.5
LEARNT = 16
"""Actors that the model learns from; the recordings are of the others."""
WARM_UP_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of RAVDESS, with a folder for each actor")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 40.0], help="lengths (default: 10 40)")
    add_options(parser, RECORD, "--rounds")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    import torch
    from sklearn.pipeline import make_pipeline

    from gendiffclf.speech import read_corpus, train

    if arguments.rounds < 1:
        raise ValueError(f"Got --rounds {arguments.rounds}, expected an integer >= 1.")
    corpus = read_corpus(arguments.data_dir, layout="ravdess")
    learnt = corpus["speaker"].isin(sorted(corpus["speaker"].unique())[:LEARNT])
    classifier = GenerativeTransportClassifier(random_state=0)
    pipeline = train(make_pipeline(FbankFeaturizer(n_mels=40, deltas=2), classifier), corpus[learnt])
    others = corpus["path"][~learnt].tolist()
    with tempfile.TemporaryDirectory() as folder:
        warm_up = write_recording(Path(folder) / "warm-up.wav", others, WARM_UP_SECONDS)
        measure(pipeline, warm_up)
        recordings = []
        for minutes in arguments.minutes:
            path = write_recording(Path(folder) / f"{minutes:g}.wav", others, 60 * minutes)
            rounds = [measure(pipeline, path) for _ in range(arguments.rounds)]
            recordings.append({"minutes": minutes, "rounds": rounds, "summary": summary(rounds)})
    record = new_record(arguments.command_line, n_threads=torch.get_num_threads(), recordings=recordings)
    write_record(record, arguments.output)
    print(sentence(record))
    return 0


def write_recording(path: Path, clips: list[str], seconds: float) -> Path:
    """Clips in a random order with pauses between them, again from the first where they are too few."""
    import soundfile

    rng, written, pause = np.random.default_rng(0), 0, np.zeros(round(PAUSE_SECONDS * RATE), dtype=np.float32)
    wanted = round(seconds * RATE)
    with soundfile.SoundFile(path, "w", samplerate=RATE, channels=1) as file:
        while written < wanted:
            for i in rng.permutation(len(clips)):
                samples = np.concatenate([soundfile.read(clips[i], dtype="float32")[0], pause])[: wanted - written]
                file.write(samples)
                written += len(samples)
    return path


def measure(pipeline: Any, path: Path) -> dict[str, float]:
    """Length, seconds and memory of one run."""
    from gendiffclf.speech import timeline

    grown, (seconds, cpu_seconds, found) = added_memory(lambda: timed(lambda: timeline(pipeline, path)))
    times = {"seconds": seconds, "cpu_seconds": cpu_seconds, "load": load_average()}
    return {"duration": found.duration, "grown_bytes": grown, **times}


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Medians over rounds, and the share of the recording's length that a run takes."""
    seconds, cpu_seconds = (median(part[name] for part in rounds) for name in ("seconds", "cpu_seconds"))
    grown = max(part["grown_bytes"] for part in rounds)
    share = seconds / rounds[0]["duration"]
    return {"seconds": seconds, "share": share, "cpu_seconds": cpu_seconds, "grown_bytes": grown}


def sentence(record: dict[str, Any]) -> str:
    """What a page says of a record."""
    parts = []
    for part in record["recordings"]:
        found, mib = part["summary"], part["summary"]["grown_bytes"] / 2**20
        times = f"{found['seconds']:.1f} s, {found['share']:.2%} of their length ({found['cpu_seconds']:.1f} s of processor time)"
        parts.append(
            f"{part['minutes']:g} minutes take {times}, and {mib:.0f} MiB of memory beyond that of the process before"
        )
    return f"On {record['environment']['hardware']['cores_usable']} cores, {'; '.join(parts)}."


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    record = read_record(results / RECORD.name)
    return {"record": record, "sentence": sentence(record)} if record else {}
