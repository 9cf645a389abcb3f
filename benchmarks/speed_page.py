"""The page of speed, made from the records of the parts alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .markdown import NOT_MEASURED, circumstances, table_text
from .models import NAMES
from .provenance import read_record
from .speed import AXES, Figures

HEADER = """\
<!-- Made by `python -m benchmarks render`; changes by hand are lost. -->

# Speed

What is compared took turns in one run, so that what slows a machine down slows all of it. Values are medians.
`make bench-speed` measures all parts, `python -m benchmarks speed PART` one of them: `import`, `predict`, `scale`, `growth`.
Seconds of fits on real tables are on the page of [benchmarks](benchmarks.md).
"""


def speed_page(folder: Path) -> str:
    """Text of the page, from `PART.json` of the parts that were measured."""
    blocks = [HEADER]
    for part, (title, text, table) in SECTIONS.items():
        record = read_record(folder / f"{part}.json")
        blocks.append(f"\n## {title}\n\n{text}\n")
        blocks.append(NOT_MEASURED if record is None else table(record["figures"]))
        blocks.append("" if record is None else circumstances(record, ("scikit-learn", "torch", "lightgbm")))
    return "".join(blocks)


def _imports(figures: Figures) -> str:
    rows = [
        [f"`{'`<br>`'.join(found['statement'].split('; '))}`", f"{1000 * found['seconds']['median']:.0f}"]
        for found in figures.values()
    ]
    return table_text(("Statements", "Milliseconds"), rows)


def _predict(figures: Figures) -> str:
    rows = []
    for what, found in figures.items():
        ours, mlp = (1000 * found[who]["median"] if who in found else None for who in ("ours", "MLPClassifier"))
        if ours and mlp:
            rows.append([what, f"{ours:.3g}", f"{mlp:.3g}", f"{ours / mlp:.1f}"])
    return table_text(("Predict", "ours, ms", "MLP, ms", "Ratio"), rows)


def _scale(figures: Figures) -> str:
    blocks = []
    for case, models in figures.items():
        rows = [
            [
                NAMES.get(model, model),
                f"{found['fit_seconds']:.1f}",
                f"{found['predict_seconds']:.2f}",
                f"{found['memory_bytes'] / 2**20:.0f}",
                f"{100 * found['accuracy']:.1f}",
            ]
            for model, found in models.items()
        ]
        blocks.append(f"\n{case}:\n{table_text(('Model', 'Fit, s', 'Predict, s', 'MiB', 'Accuracy, %'), rows)}")
    return "".join(blocks)


def _growth(figures: Figures) -> str:
    rows = []
    for axis, found in figures.items():
        first, last = found["points"][0], found["points"][-1]
        rows.append(
            [
                f"{AXES[axis]}, {first['size']:,} to {last['size']:,}",
                f"{first['fit_seconds']:.2f} to {last['fit_seconds']:.2f}",
                *(f"{found['exponents'][name]:.2f}" for name in ("fit_seconds", "memory_bytes")),
            ]
        )
    return table_text(("Growing", "Fit, s", "Exponent", "Of memory"), rows)


SECTIONS: dict[str, tuple[str, str, Callable[[Figures], str]]] = {
    "import": ("Import", "In fresh processes, all in turn.", _imports),
    "predict": (
        "Predict on a CPU",
        "Of the default classifier, by its number of centres, and of `MLPClassifier((256, 256))`; 64 features, 10 classes.",
        _predict,
    ),
    "scale": (
        "Many rows, many classes",
        "Defaults on synthetic rows, each model in a process of its own; predict is of 10,000 rows, accuracy too. MiB is the\n"
        "peak of memory that a fit adds, pages of a file on disk included.",
        _scale,
    ),
    "growth": (
        "Growth",
        "Seconds and memory of a fit with 200 updates as one size grows, from 5,000 rows, 64 features and 10 classes. An\n"
        "exponent of 1 is growth in proportion.",
        _growth,
    ),
}
