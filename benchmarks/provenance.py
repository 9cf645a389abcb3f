"""What a record of one file says of itself: command, day, surroundings, and the defaults of the classifier."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gendiffclf import GenerativeTransportClassifier

from .environment import environment
from .models import configuration
from .records import SCHEMA, Record

OWN = ("random_state", "device", "verbose")
"""Parameters of which the choice is the benchmark's or the machine's."""
MARK = "n_centers"
"""A parameter that no other classifier has."""
WITHIN = "estimator__"
"""Prefix of the classifier's parameters where another estimator is around it."""


def provenance(command: str) -> Record:
    """Command line, date, environment, and default parameters of the classifier at that commit."""
    return {
        "schema": SCHEMA,
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "defaults": defaults(),
    }


def defaults() -> dict[str, Any]:
    """Parameters of the classifier without any set."""
    return configuration(GenerativeTransportClassifier())


def changed_defaults(then: Mapping[str, Any], given: Collection[str] = ()) -> str:
    """
    Which parameters of the classifier, by itself or within another estimator, have other defaults now.

    Parameters
    ----------
    then : mapping
        A configuration.
    given : collection of str
        Parameters that were not left at their defaults.

    Returns
    -------
    str
        Empty if none have, or the configuration is of another classifier.
    """
    own = {name.removeprefix(WITHIN): value for name, value in then.items()}
    if MARK not in own:
        return ""
    now = defaults()
    before = {name: own.get(name, "missing") for name in now if name not in {*OWN, *given}}
    return ", ".join(f"{name} {value} (now {now[name]})" for name, value in before.items() if value != now[name])


def defaults_text(records: Sequence[Record], label: str) -> str:
    """A line on each set of defaults that has changed since the runs of that label, if it is the classifier's."""
    own = [record for record in records if record["label"] == label]
    changed = {changed_defaults(r["configuration"], r.get("parameters", {})) for r in own} - {""}
    return "".join(f"- Defaults that differed at that commit: {text}\n" for text in sorted(changed))


def read_record(path: Path) -> Record | None:
    """The record of a file; None if there is none, or one of an older schema."""
    record = json.loads(path.read_text()) if path.exists() else {}
    return record if record.get("schema") == SCHEMA else None


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n")
