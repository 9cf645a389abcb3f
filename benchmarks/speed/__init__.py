"""Measure speed and memory beside a peer or a floor, part by part; a new part is a module and a line in `PARTS`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import torch

from ..environment import commit_of, load_average
from ..provenance import provenance, write_record
from . import fit, gpu, growth, imports, memmap, predict, processes
from .baseline import Baseline
from .measuring import Options

RESULTS = Path("benchmarks/results/speed")
PARTS: dict[str, ModuleType] = {
    "import": imports,
    "predict": predict,
    "fit": fit,
    "growth": growth,
    "memmap": memmap,
    "processes": processes,
    "gpu": gpu,
}
"""Each with a `TITLE`, `measure(options)`, and `section(record)`, the table of its details on the page."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz, more tables for the part fit")
    parser.add_argument(
        "--peers",
        default=",".join(fit.PEERS),
        help="slow peers of the parts fit and gpu, where installed; none for none (default: %(default)s)",
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="DIR", help="checkout of an older version, for the parts fit and predict"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of records (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all runs; figures mean nothing")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        raise ValueError(f"Got part {', '.join(unknown)}, expected some of {', '.join(PARTS)}.")
    peers = () if arguments.peers in ("", "none") else tuple(arguments.peers.split(","))
    if unknown := [name for name in peers if name not in fit.PEERS]:
        raise ValueError(f"Got peers {', '.join(unknown)}, expected some of {', '.join(fit.PEERS)}, or none.")
    if arguments.quick and arguments.output == RESULTS:
        raise ValueError("Got --quick without --output, expected another folder: quick figures are no records.")
    older = None if arguments.baseline is None else Baseline(arguments.baseline)
    options = Options(arguments.quick, arguments.data_dir, peers, older)
    commit = {} if older is None else {"baseline_commit": commit_of(older.folder)}
    for part in arguments.parts or PARTS:
        print(f"{part}:", flush=True)
        load = load_average()
        measured = PARTS[part].measure(options)
        if measured is None:
            continue
        record = {
            **provenance(arguments.command_line),
            "load_average": load,
            "torch_threads": torch.get_num_threads(),
            "settings": measured.settings | commit,
            "figures": measured.figures,
            "findings": [asdict(finding) for finding in measured.findings],
        }
        write_record(record, arguments.output / f"{part}.json")
        for finding in measured.findings:
            goal = "" if finding.at_most is None else f" (goal: at most {finding.at_most:.3g})"
            print(f"  {finding.name}: {finding.value:.3g} {finding.unit}{goal}", flush=True)
    return 0
