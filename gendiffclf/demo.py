"""The default classifier beside three of scikit-learn's, cross-validated on real data that comes with scikit-learn."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from scipy.linalg import block_diag
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.fixes import parse_version
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .classifier import GenerativeTransportClassifier
from .device import thread_limit
from .metrics import expected_calibration_error
from .plots import ReliabilityDisplay, TransportDisplay
from .validation import check_integer

__all__ = ["CLASSIFIERS", "DATASETS", "Comparison", "compare", "run_demo"]

DATASETS: dict[str, Callable[..., Any]] = {
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}

_SVM_CALIBRATION = "temperature" if parse_version(sklearn.__version__) >= parse_version("1.8") else "sigmoid"
"""An SVM has no probabilities of its own; for many classes one temperature (since 1.8) serves better than sigmoids."""

CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "generative transport": lambda seed: GenerativeTransportClassifier(random_state=seed),
    "logistic regression": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "RBF SVM": lambda seed: make_pipeline(
        StandardScaler(), CalibratedClassifierCV(SVC(), method=_SVM_CALIBRATION, ensemble=False)
    ),
    "MLP": lambda seed: make_pipeline(StandardScaler(), MLPClassifier(random_state=seed)),
}
"""From a random state to a classifier that standardises features itself."""

_OURS = "generative transport"


@dataclass(frozen=True)
class Comparison:
    """
    One classifier on one data set.

    Attributes
    ----------
    dataset, classifier : str
    y : ndarray of shape (n,)
        True labels.
    proba : ndarray of shape (n, n_classes)
        Probabilities of each row, from the fold that left it out.
    seconds : float
        Time of all fits and predictions.
    fitted : classifier
        That of the last fold.
    held_out : ndarray, int
        The rows that one did not learn from.
    """

    dataset: str
    classifier: str
    y: np.ndarray
    proba: np.ndarray
    seconds: float
    fitted: Any
    held_out: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of rows whose most probable class is the true one."""
        return float(accuracy_score(self.y, np.unique(self.y)[self.proba.argmax(axis=1)]))

    @property
    def log_loss(self) -> float:
        """Mean negative logarithm of the true class' probability."""
        return float(log_loss(self.y, self.proba))

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over 15 bins."""
        return expected_calibration_error(self.y, self.proba)


def compare(
    datasets: Sequence[str] = tuple(DATASETS),
    classifiers: dict[str, Callable[[int], Any]] | None = None,
    *,
    n_folds: int = 2,
    random_state: int = 0,
) -> Iterator[Comparison]:
    """
    Cross-validate every classifier on every data set, with a progress bar.

    Parameters
    ----------
    datasets : sequence of str
        Keys of `DATASETS`.
    classifiers : dict, optional
        From a name to a function of a random state; `CLASSIFIERS` by default.
    n_folds : int >= 2, default=2
        Stratified folds, the same for all classifiers.
    random_state : int, default=0
        Of folds and classifiers.

    Yields
    ------
    Comparison
    """
    check_integer("n_folds", n_folds, 2)
    classifiers = CLASSIFIERS if classifiers is None else classifiers
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    with tqdm(total=len(datasets) * len(classifiers) * n_folds, unit="fit", leave=False) as bar:
        for dataset in datasets:
            X, y = DATASETS[dataset](return_X_y=True)
            for name, create in classifiers.items():
                bar.set_description(f"{dataset}: {name}")
                proba = np.empty((len(y), len(np.unique(y))))
                started = time.perf_counter()
                for train, held_out in folds.split(X, y):
                    fitted = create(random_state)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", ConvergenceWarning)  # the MLP's usual end after 200 epochs
                        fitted.fit(X[train], y[train])
                    proba[held_out] = fitted.predict_proba(X[held_out])
                    bar.update()
                yield Comparison(dataset, name, y, proba, time.perf_counter() - started, fitted, held_out)


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as aligned text, one line each."""
    lines = [f"{'data':<15}{'classifier':<22}{'accuracy':>9}{'log-loss':>10}{'ECE':>7}{'seconds':>9}"]
    previous = ""
    for row in comparisons:
        dataset = "" if row.dataset == previous else row.dataset
        previous = row.dataset
        lines.append(
            f"{dataset:<15}{row.classifier:<22}{row.accuracy:>9.3f}{row.log_loss:>10.3f}"
            f"{row.calibration_error:>7.3f}{row.seconds:>9.1f}"
        )
    return "\n".join(lines)


def save_pictures(comparisons: Sequence[Comparison], output: Path) -> list[Path]:
    """Draw the transport of a row that was held out, and the reliability of all classifiers; returns the files."""
    import matplotlib.pyplot as plt

    ours = [row for row in comparisons if row.classifier == _OURS][-1]
    X, y = DATASETS[ours.dataset](return_X_y=True)
    files = [output / "transport.png", output / "reliability.png"]
    figure = TransportDisplay.from_estimator(ours.fitted, X, y, row=int(ours.held_out[0])).figure_
    figure.suptitle(f"A row of {ours.dataset} on its way")
    figure.savefig(files[0], dpi=150)
    plt.close(figure)

    figure, ax = plt.subplots(figsize=(5.5, 5.5), layout="constrained")
    ax.set_title("Rows of all data sets")
    for classifier in dict.fromkeys(row.classifier for row in comparisons):
        rows = [row for row in comparisons if row.classifier == classifier]
        y = np.concatenate([[f"{row.dataset} {label}" for label in row.y] for row in rows])
        labels = np.concatenate([[f"{row.dataset} {label}" for label in np.unique(row.y)] for row in rows])
        proba = block_diag(*[row.proba for row in rows])  # (n, K) each -> (rows of all, classes of all)
        ReliabilityDisplay.from_predictions(y, proba, labels=labels, name=classifier, ax=ax)
    figure.savefig(files[1], dpi=150)
    plt.close(figure)
    return files


def run_demo(
    output: Path,
    *,
    datasets: Sequence[str] = tuple(DATASETS),
    classifiers: dict[str, Callable[[int], Any]] | None = None,
    n_folds: int = 2,
    random_state: int = 0,
) -> list[Comparison]:
    """
    Compare, print a table and save pictures.

    Parameters
    ----------
    output : Path
        Folder of the pictures, made where it is missing.
    datasets, classifiers, n_folds, random_state
        See `compare`.

    Returns
    -------
    list of Comparison
    """
    import matplotlib as mpl

    output.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    # One thread for all: models this small gain little from more, and lose much where other programs use the cores.
    with thread_limit(1), threadpool_limits(1):
        comparisons = list(compare(datasets, classifiers, n_folds=n_folds, random_state=random_state))
    print(table(comparisons))
    print(f"\nEach row was predicted by a classifier that had not seen it ({n_folds} folds; seconds are of all folds).")
    with mpl.rc_context({"backend": "agg"}):
        files = save_pictures(comparisons, output)
    print(f"Pictures: {' and '.join(map(str, files))}. In all: {time.perf_counter() - started:.0f} s.")
    return comparisons
