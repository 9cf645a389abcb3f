"""Encoded columns of categories for tests."""

import numpy as np

from gendiffclf.tables import TableColumn


def encoded(series, weight=None):
    """Names and values of what a column becomes, as fitted to itself."""
    column = TableColumn.fit("c", series, np.ones(len(series)) if weight is None else weight)
    return column, column.encode(series)
