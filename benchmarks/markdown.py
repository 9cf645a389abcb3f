"""Pieces of pages: tables, numbers, and where a record was made."""

from __future__ import annotations

from collections.abc import Sequence

from .provenance import changed_defaults, defaults_text
from .records import Record

NOT_MEASURED = "\nNot measured.\n"


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    """Markdown table, numbers to the right."""
    lines = [header, [":--", *["--:" if numbers else ":--"] * (len(header) - 1)], *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float, digits: int, best: bool = False) -> str:
    """A number of so many digits after the point, bold if it is the best; a dash for NaN."""
    if value != value:
        return "–"
    return f"**{value:.{digits}f}**" if best else f"{value:.{digits}f}"


def machine(record: Record) -> str:
    """The hardware of an environment and its settings of threads."""
    hardware = record["hardware"]
    threads = ", ".join(f"{name}={value}" for name, value in sorted(record["threads"].items()))
    parts = [hardware["cpu"], f"{hardware['cores_usable']} of {hardware['cores']} cores", hardware["system"]]
    if hardware["memory_bytes"]:
        parts.append(f"{hardware['memory_bytes'] / 2**30:.0f} GiB")
    return ", ".join([*parts, *([hardware["gpu"]] if hardware["gpu"] else ["no GPU"]), *([threads] if threads else [])])


def commit(record: Record) -> str:
    """The commit of an environment, shortened, and whether the code was changed since."""
    return f"`{(record['commit'] or 'unknown')[:12]}`{' with uncommitted changes' if record['dirty'] else ''}"


def circumstances(record: Record, packages: Sequence[str]) -> str:
    """
    How one record was made: its command, hardware, commit, versions, day, and defaults that are others now.

    Parameters
    ----------
    record : dict
        With `command` and `environment`; older ones lack `date` or `defaults`.
    packages : sequence of str
        Whose versions to name, as far as the record holds them.
    """
    made = record["environment"]
    versions = [f"{name} {made['versions'][name]}" for name in ("python", *packages) if name in made["versions"]]
    lines = [f"\n```console\n{record['command']}\n```\n\n", f"- Hardware: {machine(made)}\n"]
    lines += [f"- Commit: {commit(made)}\n", f"- Versions: {', '.join(versions)}\n"]
    if "date" in record:
        lines.append(f"- Date: {record['date'][:10]}\n")
    if changed := changed_defaults(record.get("defaults", {})):
        lines.append(f"- Defaults that differed at that commit: {changed}\n")
    return "".join(lines)


def runs_circumstances(records: Sequence[Record], subject: str) -> str:
    """How records of many runs were made, and what defaults of the subject have changed since."""
    lines = ["\n## How it was measured\n\n"]
    commands = sorted({record["command"] for record in records})
    if len(commands) > 3:
        lines.append(f"`{' '.join(commands[0].split()[:4])}` was called {len(commands)} times for parts of it; ")
        lines.append("every record holds its own command.\n\n")
    else:
        lines += ["```console\n", *[f"{command}\n" for command in commands], "```\n\n"]
    machines = {machine(record) for record in records}
    lines += [f"- Hardware: {name}\n" for name in sorted(machines)]
    commits: dict[str, set[str]] = {}
    for record in records:
        commits.setdefault(commit(record), set()).add(record["label"])
    for name, labels in sorted(commits.items()):
        lines.append(f"- Commit: {name} ({', '.join(sorted(labels))})\n")
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, version in record["versions"].items():
            versions.setdefault(package, set()).add(version)
    named = [f"{package} {' / '.join(sorted(found))}" for package, found in sorted(versions.items())]
    lines.append(f"- Versions: {', '.join(named)}\n")
    dates = sorted(record["date"][:10] for record in records)
    lines.append(f"- Dates: {dates[0]} to {dates[-1]}\n")
    lines.append(defaults_text(records, subject))
    warned: dict[str, set[str]] = {}
    for record in records:
        for name in record["warnings"]:
            warned.setdefault(name, set()).add(record["label"])
    lines += [f"- Warned with {name}: {', '.join(sorted(labels))}\n" for name, labels in sorted(warned.items())]
    return "".join(lines)
