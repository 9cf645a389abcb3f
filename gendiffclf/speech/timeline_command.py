"""The command `timeline`: labels over time in a recording."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .options import add_machine_options, check_outputs, featurizer_changes


def add_timeline_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder that `train` wrote")
    parser.add_argument("recording", type=Path, help="audio file of any length")
    parser.add_argument("--encoder", help="new path of the speech encoder, if it was moved")
    parser.add_argument(
        "--window", type=float, default=3.0, help="length of a window in seconds (default: %(default)s)"
    )
    parser.add_argument(
        "--hop", type=float, default=1.0, help="seconds from one window to the next (default: %(default)s)"
    )
    parser.add_argument(
        "--min-duration", type=float, default=2.0, help="minimum seconds of a segment (default: %(default)s)"
    )
    parser.add_argument("--all-sound", action="store_true", help="label all sound, not only speech")
    parser.add_argument(
        "--output",
        type=Path,
        action="append",
        default=[],
        help="file .csv, .json, .txt (labels for Audacity), .png, .svg or .pdf; can be repeated",
    )
    add_machine_options(parser)
    parser.add_argument("--quiet", action="store_true", help="do not print run time and memory")
    parser.set_defaults(no_cache=True)  # each window is encoded once


def run_timeline(options: argparse.Namespace) -> None:
    """Print the segments, run time and memory, and write the requested files."""
    from .model_folder import load_model
    from .timeline_output import check_ending
    from .timelines import timeline

    for path in options.output:
        check_ending(path)
    check_outputs([options.recording], *(("--output", path) for path in options.output))
    pipeline = load_model(options.model, **featurizer_changes(options))
    start = time.perf_counter()
    result = timeline(
        pipeline,
        options.recording,
        options.window,
        options.hop,
        min_duration=options.min_duration,
        detect_speech=not options.all_sound,
    )
    seconds = time.perf_counter() - start
    print(result)
    for path in options.output:
        result.save(path)
    if not options.quiet:
        print(f"{result.duration:.1f} s of recording in {seconds:.1f} s{_peak_memory()}.", file=sys.stderr)


def _peak_memory() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return ""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return f", at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.0f} MiB of memory"
