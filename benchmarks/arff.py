"""Tables in ARFF files, with categories and gaps as they are, such as those of github.com/renatopp/arff-datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io.arff import loadarff

FURTHER = (
    "anneal", "arrhythmia", "audiology", "autos", "balance.scale", "breast.cancer", "breast.w", "bridges.version2", "cmc",
    "colic", "column3C", "credit.a", "cylinder.bands", "dermatology", "diabetes", "ecoli", "flags", "glass", "haberman",
    "heart.h", "heart.statlog", "hepatitis", "hypothyroid", "ionosphere", "kr.vs.kp", "lymph", "primary.tumor",
    "solar.flare2", "sonar", "splice", "tae", "tic-tac-toe", "vote", "vowel", "waveform5000",
)  # fmt: skip
"""Its classification tables of 100 to 6,000 rows that scipy can read: one version of each, and none of `data.SOURCES`."""
LEAST_ROWS = 10
"""Classes with fewer rows are left out, else folds of the training rows could lack them."""


def read_arff(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """
    Features and labels of a file.

    Returns
    -------
    X : DataFrame of shape (n, d)
        Columns of dtype float or category, NaN where a value is missing.
    y : ndarray of shape (n,), str
        The attribute `class`, in any case, or else the last one.
    """
    rows, about = loadarff(path)
    frame = pd.DataFrame(rows)
    nominal = [name for name, kind in zip(about.names(), about.types(), strict=True) if kind == "nominal"]
    frame[nominal] = frame[nominal].apply(lambda column: column.str.decode("utf-8").replace("?", None))
    target = next((name for name in frame if name.lower() == "class"), frame.columns[-1])
    if target not in nominal:
        raise ValueError(f"Got {path} with the numeric target {target!r}, expected a nominal one.")
    n_rows = frame[target].map(frame[target].value_counts())
    frame = frame[n_rows >= LEAST_ROWS].reset_index(drop=True)
    y = frame.pop(target).to_numpy(str)
    return frame.astype(dict.fromkeys(set(nominal) - {target}, "category")), y
