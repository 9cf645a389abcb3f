"""Seconds of `import gendiffclf` in fresh processes, beside those of `import sklearn`."""

from __future__ import annotations

from typing import Any

from .measuring import Finding, Measured, Options, fresh_process, spread

TITLE = "Import"
STATEMENTS = {
    "sklearn": "import sklearn",
    "sklearn.base": "import sklearn.base",
    "gendiffclf": "import gendiffclf",
    "sklearn and gendiffclf": "import sklearn; import gendiffclf",
    "sklearn and our classifier": "import sklearn; from gendiffclf import GenerativeTransportClassifier",
    "sklearn and MLPClassifier": "import sklearn; from sklearn.neural_network import MLPClassifier",
    "sklearn and torch": "import sklearn; import torch",
}
_EXTRA = ("sklearn.base", "gendiffclf", "sklearn and torch")
GOAL_MS = 50.0
_CODE = """
import json, sys, time
times = [time.perf_counter()]
for statement in sys.argv[1].split("; "):
    exec(statement)
    times.append(time.perf_counter())
found = {"seconds": times[-1] - times[0], "last": times[-1] - times[-2]}
print(json.dumps({**found, "modules": len(sys.modules), "torch": "torch" in sys.modules}))
"""


def measure(options: Options) -> Measured:
    """Import in one fresh process after another, all statements in turn."""
    repeats = 1 if options.quick else 15
    names = [name for name in STATEMENTS if name not in _EXTRA or not options.quick]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(repeats + (not options.quick)):
        for name in names:
            run = fresh_process(_CODE, STATEMENTS[name])
            if (
                number or options.quick
            ):  # in the first round files come into the system's cache, compiled ones are written
                found[name].append(run)
    figures = {
        name: {
            "statement": STATEMENTS[name],
            "seconds": spread([run["seconds"] for run in runs]),
            "last_seconds": spread([run["last"] for run in runs]),
            "modules": runs[0]["modules"],
            "torch_loaded": any(run["torch"] for run in runs),
        }
        for name, runs in found.items()
    }
    median = {name: 1000 * figure["seconds"]["median"] for name, figure in figures.items()}
    base = median["sklearn"]
    findings = [
        Finding(
            "`import gendiffclf` on top of `import sklearn`", median["sklearn and gendiffclf"] - base, "ms", GOAL_MS
        ),
        Finding("the classifier's own module on top of it", median["sklearn and our classifier"] - base, "ms", GOAL_MS),
        Finding("`sklearn.neural_network` on top of it", median["sklearn and MLPClassifier"] - base, "ms"),
        Finding("`sklearn` with our classifier / `sklearn` alone", median["sklearn and our classifier"] / base),
    ]
    return Measured({"repeats": repeats}, figures, findings)


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    rows = [["Statement", "Median, ms", "Quartiles, ms", "Last statement, ms", "Modules", "torch loaded"]]
    figures = record["figures"]
    for figure in (figures[name] for name in STATEMENTS if name in figures):
        seconds = {name: 1000 * value for name, value in figure["seconds"].items()}
        rows.append(
            [
                f"`{figure['statement']}`",
                f"{seconds['median']:.1f}",
                f"{seconds['low']:.1f}–{seconds['high']:.1f}",
                f"{1000 * figure['last_seconds']['median']:.1f}",
                str(figure["modules"]),
                "yes" if figure["torch_loaded"] else "no",
            ]
        )
    return rows
