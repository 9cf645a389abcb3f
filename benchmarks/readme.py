"""The summary in the README, made from the records that the page of benchmarks is made from."""

from __future__ import annotations

from pathlib import Path

from .markdown import number, table_text
from .stored import SUFFIX
from .summary import HIGHER_IS_BETTER, Comparison, bootstrap
from .verdicts import LOSS, verdict

BEGIN = "<!-- Made by `make bench-render`, up to the next mark; changes by hand are lost. -->"
END = "<!-- End of what is made. -->"
NAMES = {
    "ours": "`GenerativeTransportClassifier()`",
    "logreg": "logistic regression",
    "svc_rbf": "SVM",
    "svc_rbf_c10": "SVM (C = 10)",
    "mlp": "MLP",
    "extratrees": "extra trees",
    "hgb": "HistGradientBoosting",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "realmlp_td": "RealMLP-TD",
    "tabm_d": "TabM-D",
}


def write_readme(path: Path, comparison: Comparison, subject: str) -> None:
    """
    Put the summary between the marks of a file.

    Raises
    ------
    ValueError
        If the file lacks the marks.
    """
    put_between_marks(path, summary(comparison, subject))


def put_between_marks(path: Path, made: str) -> None:
    """
    Replace what is between the marks of a file.

    Raises
    ------
    ValueError
        If the file lacks the marks.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"Got {path} without the marks {BEGIN!r} and {END!r}, expected both, in this order.")
    path.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")


def summary(comparison: Comparison, subject: str) -> str:
    """Means of each model, the best accuracy first, the subject in bold."""
    means = {name: comparison.mean(name) for name in ("accuracy", "log_loss", "ece", "fit_seconds")}
    ranks = comparison.ranks().groupby(level=0).mean().mean()
    rows = []
    for label in comparison.labels:
        stored = label.endswith(SUFFIX)  # on another machine
        name = NAMES.get(label.removesuffix(SUFFIX), label.removesuffix(SUFFIX))
        cells = [
            f"{name}{SUFFIX}" if stored else name,
            number(100 * means["accuracy"][label], 2),
            number(ranks[label], 2),
            number(means["log_loss"][label], 3),
            number(means["ece"][label], 3),
            "–" if stored else number(means["fit_seconds"][label], 2),
        ]
        rows.append([f"**{cell}**" for cell in cells] if label == subject else cells)
    tables = {table for table, _ in comparison.cells}
    header = ("Model", "Accuracy, %", "Mean rank", "Log-loss", "ECE", "Fit, s")
    text = (
        f"Means over {len(tables)} real tables and {len(comparison.cells)} runs of each model, no setting chosen by table. Ours "
        "is given the groups (speakers) of grouped tables, which the peers cannot take. Times of models are not all of one run:"
    )
    blocks = ["\n", text, "\n", table_text(header, rows)]
    if subject in comparison.labels and len(comparison.labels) > 1:
        blocks += ["\n", _beyond_chance(comparison, subject)]
    return "".join(blocks)


def _beyond_chance(comparison: Comparison, subject: str) -> str:
    """Whom the subject leads by a difference of which the interval excludes zero."""
    said = []
    for metric, title in (("accuracy", "accuracy"), ("log_loss", "log-loss"), ("ece", "ECE")):
        intervals = bootstrap(comparison.difference(metric, subject))
        more = metric in HIGHER_IS_BETTER
        others = [label for label in comparison.labels if label != subject]
        near = [label for label in others if verdict(intervals[label], more) != LOSS]
        names = ", ".join(NAMES.get(label.removesuffix(SUFFIX), label) for label in near)
        but = "none" if len(near) == len(others) else f"all but {names}" if near else "all"
        said.append(f"- {title}: beyond chance over {but}\n")
    return f"Whether its lead is more than the draw of tables and splits explains (95% intervals):\n\n{''.join(said)}"
