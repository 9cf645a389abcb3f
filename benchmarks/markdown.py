"""Pieces of pages: tables, numbers, and how records were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gendiffclf import GenerativeTransportClassifier

from .models import configuration
from .records import Record

_OWN = ("random_state", "device", "verbose")
"""Parameters of which the choice is the benchmark's or the machine's."""


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], numbers: bool = True) -> str:
    """Markdown table, numbers to the right."""
    lines = [header, [":--", *["--:" if numbers else ":--"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def number(value: float, digits: int, best: bool = False) -> str:
    """A number of so many digits after the point, never -0, bold if it is the best; a dash for NaN."""
    if value != value:
        return "–"
    return f"**{value:z.{digits}f}**" if best else f"{value:z.{digits}f}"


def listing(values: Iterable[float], digits: int = 3, scale: float = 1) -> str:
    """Numbers as a list in words."""
    *first, last = (f"{scale * value:.{digits}f}" for value in values)
    return f"{', '.join(first)} and {last}"


def by_command(records: Iterable[Record]) -> list[list[Record]]:
    """Records in groups that one command made each."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["command"], []).append(record)
    return list(groups.values())


def circumstances(records: Sequence[Record], packages: Sequence[str] = ()) -> str:
    """
    How records were made: commands, hardware, commits, versions, days, warnings, and defaults that are others now.

    Parameters
    ----------
    records : sequence of dict
        Of one file each, or of a run each.
    packages : sequence of str
        Whose versions to name beside Python's; by default all.
    """
    made = [record.get("environment", record) for record in records]
    commands = sorted({record["command"] for record in records})
    if len(commands) > 3:
        program = " ".join(commands[0].split()[:4])
        said = [
            f"`{program}` was called {len(commands)} times for parts of it; every record holds its own command.\n\n"
        ]
    else:
        said = ["```console\n", *(f"{command}\n" for command in commands), "```\n\n"]
    said += [f"- Hardware: {name}\n" for name in sorted({_machine(one) for one in made})]
    commits = [(_commit(one), record.get("label")) for one, record in zip(made, records, strict=True)]
    several = len({name for name, _ in commits}) > 1
    said += _items("Commit", ((name, label if several else None) for name, label in commits))
    versions: dict[str, set[str]] = {}
    for one in made:
        for package, found in one["versions"].items():
            versions.setdefault(package, set()).add(found)
    shown = [name for name in (("python", *packages) if packages else sorted(versions)) if name in versions]
    said.append(f"- Versions: {', '.join(' '.join([name, ' / '.join(sorted(versions[name]))]) for name in shown)}\n")
    days = sorted({record["date"][:10] for record in records if "date" in record})
    said.append(f"- Date: {' to '.join(dict.fromkeys([days[0], days[-1]]))}\n" if days else "")
    said += [
        f"- Defaults that differed at that commit: {text}\n" for text in sorted(set(map(_changed, records)) - {""})
    ]
    said += _items(
        "Warned with", ((name, record["label"]) for record in records for name in record.get("warnings", ()))
    )
    return "".join(said)


def _machine(made: Record) -> str:
    hardware = made["hardware"]
    memory = [f"{hardware['memory_bytes'] / 2**30:.0f} GiB"] if hardware["memory_bytes"] else []
    cores = f"{hardware['cores_usable']} of {hardware['cores']} cores"
    threads = [f"{name}={value}" for name, value in sorted(made["threads"].items())]
    return ", ".join([hardware["cpu"], cores, hardware["system"], *memory, hardware["gpu"] or "no GPU", *threads])


def _commit(made: Record) -> str:
    return f"`{(made['commit'] or 'unknown')[:12]}`{' with uncommitted changes' if made['dirty'] else ''}"


def _items(title: str, pairs: Iterable[tuple[str, str | None]]) -> list[str]:
    """A line for each name, with the labels that go with it."""
    labels: dict[str, set[str]] = {}
    for name, label in pairs:
        labels.setdefault(name, set()).update([label] if label else [])
    named = {name: f" ({', '.join(sorted(own))})" if own else "" for name, own in sorted(labels.items())}
    return [f"- {title}: {name}{own}\n" for name, own in named.items()]


def _changed(record: Record) -> str:
    """Parameters of our classifier that had other defaults when the record was made, or are none now; empty for other models."""
    given = {*_OWN, *record.get("parameters", {})}
    then = record.get("defaults", record.get("configuration", {}))
    inner = {name.removeprefix("estimator__"): then[name] for name in then if name.startswith("estimator__")}
    then = inner or then  # that of the classifier itself, where it is wrapped
    if "n_centers" not in then:  # a parameter that no other classifier has
        return ""
    now = configuration(GenerativeTransportClassifier())
    changed = [name for name in now if name not in given and then.get(name, "missing") != now[name]]
    # Parameters of a path, such as `path__n_steps`, are there only if the path is an object.
    gone = [name for name in sorted(then) if name not in now and name not in given and "__" not in name]
    return ", ".join(
        [f"{name} {then.get(name, 'missing')} (now {now[name]})" for name in changed]
        + [f"{name} {then[name]} (no longer a parameter)" for name in gone]
    )
