"""CSV files of users, with messages that name the file."""

from __future__ import annotations

import warnings
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

import pandas as pd


def read_csv(path: Path, rule: str, **options: Any) -> pd.DataFrame:
    """Read a table by `pandas.read_csv` with these options; a ValueError with the `rule` if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Without an index, which a cell more in every row would become.
            return pd.read_csv(path, index_col=False, **options)
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"Got {path}, which is empty, {rule}; add a header and rows.") from error
    except UnicodeDecodeError as error:
        encoding = "utf-16" if error.object.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin1"
        raise ValueError(
            f"Got {path} with bytes that are not UTF-8, {rule}; convert it, for example with `iconv -f {encoding} -t utf-8`, or "
            "save the table as CSV if it has another format."
        ) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        if "EOF inside string" in str(error):
            raise ValueError(
                f"Got {path} with a quote that does not end, {rule}; remove it, or double the quotes inside quoted cells."
            ) from error
        raise ValueError(
            f"Got {path} with rows of unequal length ({str(error).strip()}), {rule}; quote cells that contain separators."
        ) from error
