"""Reading a corpus into a table with one row per clip: path, label and speaker."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..featurizers.audio import Clip
from ..featurizers.inputs import as_items
from ..validation import check_choice, first_few
from .csv_files import read_csv
from .folders import AUDIO_SUFFIXES, read_folder
from .layouts import LAYOUTS
from .votes import vote_columns, with_votes

_OTHER_TABLES = (".json", ".jsonl", ".parquet", ".txt", ".xls", ".xlsx")
_REMEDIES = {
    "label": "; take it from the paths by layout (--layout) or pattern (--pattern '{label}/*.wav'), or from another column by "
    "target (--label-column)"
}


def read_corpus(
    source: str | os.PathLike[str],
    *,
    layout: str | None = None,
    pattern: str | None = None,
    target: str | None = None,
    path_column: str = "path",
    speaker_column: str = "speaker",
    votes: Sequence[str] | None = None,
    raters: Sequence[str] | None = None,
    on_mismatch: str = "raise",
    to_predict: bool = False,
) -> pd.DataFrame:
    """
    Read the table of a corpus without opening any clip.

    Parameters
    ----------
    source : path-like
        A folder, a table (.csv, or .tsv with tabs), or a single clip.
    layout : str, optional
        A corpus with known file names, a key of `LAYOUTS`: ravdess, emodb, crema-d, savee, tess, meld, nemo, urdu.
    pattern : str, optional
        Pattern of the paths below the folder, such as `"{label}/{speaker}_*.wav"`: a name in braces is a column, `*`
        matches anything within a name, and `**/` any folders.
    target : str, optional
        Column to predict. By default `emotion` with a layout, otherwise `label` if there is one.
    path_column : str, default="path"
        Column of a table with the paths.
    speaker_column : str, default="speaker"
        Column of a table, layout or pattern with the speakers.
    votes : sequence of str, optional
        Columns with the votes of several raters, one for each class and named after it: counts or shares, empty for none.
    raters : sequence of str, optional
        Alternatively, columns with the label given by each rater, empty for none.
    on_mismatch : {"raise", "warn"}, default="raise"
        What to do about audio files whose path does not match; "warn" leaves them out.
    to_predict : bool, default=False
        Whether labels may be missing. A single clip, recognised by its suffix, need not exist either: it becomes a row, for
        which `predict_clips` reports an error.

    Returns
    -------
    corpus : DataFrame
        Columns `path`, `label` and `speaker` as far as known, `start` and `end` in seconds if the table has them, and any
        others, such as `gender`. Folders are sorted by path, tables keep their order. Paths in a table are relative to its
        folder. Votes become columns `votes_<label>`, and `label` is the label with most votes, in case of a tie the first by
        name.

    Raises
    ------
    ValueError
        If there are no clips, files do not match (the first few are named), or clips have no `target` or no votes.

    Notes
    -----
    Emotions have the same names in all layouts: angry, bored, calm, disgusted, fearful, happy, neutral, sad, surprised.
    Hidden files and folders are ignored. With a layout, a clip that is there twice, in other folders or formats as in some
    downloads, is read once, with a warning, since it must not be in both training and test.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from gendiffclf.speech import read_corpus
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("angry/anna_1.wav", "calm/ben_1.wav"):
    ...         path = Path(folder, name)
    ...         path.parent.mkdir()
    ...         path.touch()
    ...     read_corpus(folder, pattern="{label}/{speaker}_*.wav")[["label", "speaker"]]
       label speaker
    0  angry    anna
    1   calm     ben
    """
    check_choice("on_mismatch", on_mismatch, ("raise", "warn"))
    if layout is not None and pattern is not None:
        raise ValueError(f"Got layout={layout!r} and pattern={pattern!r}, expected one of them.")
    if layout is not None:
        check_choice("layout", layout, LAYOUTS)
    source = Path(source)
    is_clip = source.suffix.lower() in AUDIO_SUFFIXES
    if not source.exists() and not (to_predict and is_clip):
        raise ValueError(f"Got source={str(source)!r}, which does not exist, expected a folder, a table or a clip.")
    if source.is_dir():
        corpus = read_folder(source, layout, pattern, on_mismatch)
        if layout is not None:
            target = target or "emotion"
            people = LAYOUTS[layout].people
            if people and target in ("gender", "age") and target not in corpus:
                raise ValueError(
                    f"Got target={target!r} without {people[0]} in or next to {source}, expected this file of "
                    f"{LAYOUTS[layout].title}, which holds it; add it."
                )
    elif layout is not None or pattern is not None:
        raise ValueError(
            f"Got source={str(source)!r} with a layout or pattern, expected a folder; leave out the layout or pattern (--layout, "
            "--pattern)."
        )
    elif source.suffix.lower() in (".csv", ".tsv"):
        corpus = _read_table(source, path_column)
    elif source.suffix.lower() in _OTHER_TABLES:
        raise ValueError(
            f"Got source={str(source)!r}, expected a folder, a table (.csv, .tsv) or a clip; save it as .csv."
        )
    else:
        corpus = pd.DataFrame({"path": [str(source)]})
        target = None if to_predict else target  # a single clip has no columns
    corpus = _with_times(corpus)
    if speaker_column != "speaker":
        if speaker_column not in corpus:
            raise ValueError(
                f"Got speaker_column={speaker_column!r}, expected one of the columns {list(corpus.columns)}."
            )
        corpus = corpus.assign(speaker=corpus[speaker_column])
    if "speaker" in corpus and not to_predict:
        check_gaps(corpus, "speaker")
    if votes is None and raters is None:
        return _with_label(corpus, target, to_predict)
    if target is not None:
        raise ValueError(f"Got target={target!r} with votes, expected one of them; the label is the majority of votes.")
    return _with_label(with_votes(corpus, votes, raters), None, to_predict)


def check_corpus(
    corpus: Any, needed: Iterable[str] = ("path", "label"), optional: Iterable[str] = ("speaker",)
) -> pd.DataFrame:
    """
    Validate a table as returned by `read_corpus`, reset its index, turn `start` and `end` into numbers, and speakers that are
    whole numbers into integers, so that 1.0 and 1 are one speaker.

    Raises a ValueError if the table is empty, a needed column is missing, a needed or optional one has missing values, labels
    are of several types, or times are no numbers.
    """
    if not isinstance(corpus, pd.DataFrame):
        raise ValueError(f"Got a corpus of type {type(corpus).__name__}, expected a DataFrame, as from read_corpus.")
    if not len(corpus):
        raise ValueError("Got a corpus of 0 clips, expected at least 1.")
    corpus = corpus.reset_index(drop=True)
    for name in (*needed, *(name for name in optional if name in corpus)):
        if name not in corpus:
            remedy = _REMEDIES.get(name, "")
            raise ValueError(
                f"Got a corpus with the columns {list(corpus.columns)}, expected {name!r} among them{remedy}."
            )
        check_gaps(corpus, name)
    if "label" in (*needed, *optional) and "label" in corpus:
        if vote_columns(corpus):  # labels are the ends of their names
            corpus = corpus.assign(label=corpus["label"].astype(str))
        if 0 < sum(isinstance(label, str) for label in corpus["label"]) < len(corpus):
            raise ValueError(
                "Got labels of which some are text, expected all or none; convert them, for example by "
                "corpus['label'].astype(str)."
            )
    corpus = _with_times(corpus)
    if "speaker" in corpus:
        whole = [isinstance(name, float | np.floating) and name.is_integer() for name in corpus["speaker"]]
        if any(whole):
            names = [int(name) if n else name for name, n in zip(corpus["speaker"], whole, strict=True)]
            corpus = corpus.assign(speaker=pd.Series(names, dtype=object))
    return corpus


def with_index_of(corpus: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Index results by the index of a corpus in place of its row numbers."""
    return results.set_axis(corpus.index.take(results.index), axis=0)


def clips(corpus: pd.DataFrame) -> list[Any]:
    """Return the clips of a table as featurisers accept them: paths, or (path, start, end)."""
    if "start" not in corpus and "end" not in corpus:
        return corpus["path"].tolist()
    return as_items(corpus.reindex(columns=["path", "start", "end"]))


def _with_times(corpus: pd.DataFrame) -> pd.DataFrame:
    """Turn `start` and `end`, as far as there, into seconds; NaN where empty."""
    for name in ("start", "end"):
        if name not in corpus:
            continue
        text = corpus[name].astype(object).mask(gaps(corpus[name]))
        seconds = pd.to_numeric(text, errors="coerce").astype(np.float64)
        wrong = np.flatnonzero(seconds.isna() & text.notna())
        if len(wrong):
            row = wrong[0]
            raise ValueError(
                f"Got {name}={text.iloc[row]!r} for {corpus['path'].iloc[row]} in row {row + 1}, expected seconds."
            )
        corpus = corpus.assign(**{name: seconds})
    return corpus


def clip_keys(corpus: pd.DataFrame) -> list[str]:
    """Return path, start and end of each clip as text that is the same for a table and a file of it."""
    corpus = _with_times(corpus)
    names = [name for name in ("start", "end") if name in corpus]
    return ["\t".join(map(str, place)) for place in zip(corpus["path"], *(corpus[name] for name in names), strict=True)]


def clip_name(path: str, row: Any) -> str:
    """Return `path`, followed by the segment if the row, a mapping or Series, has `start` or `end`."""
    start, end = (value if (value := row.get(name)) == value else None for name in ("start", "end"))  # NaN != NaN
    return Clip(path, start=start or 0.0, end=end).name


# --------------------------------------------------------------------- tables


def _read_table(path: Path, path_column: str) -> pd.DataFrame:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    separators = "tabs" if separator == "\t" else "commas"
    rule = f"expected a table in UTF-8 with columns separated by {separators} and their names in the first line"
    try:
        table = _read_cells(path, rule, separator)
    except ValueError:
        if separator != "\t":
            raise
        table = _read_cells(path, rule, separator, quoting=csv.QUOTE_NONE)  # with stray quotes, which are text then
    if path_column not in table:
        if any(other in str(name) for name in table.columns for other in ";\t,"):
            raise ValueError(
                f"Got {path} with the columns {list(table.columns)}, {rule}; save it with {separators} as separators."
            )
        raise ValueError(
            f"Got {path} with the columns {list(table.columns)}, expected {path_column!r} among them; specify the "
            "column of paths by path_column (--path-column), or rename it."
        )
    if path_column != "path":
        table = table.drop(columns="path", errors="ignore").rename(columns={path_column: "path"})
    if not len(table):
        raise ValueError(f"Got {path} with 0 clips, expected at least 1.")
    check_gaps(table, "path")
    table["path"] = [str(path.parent / name) for name in table["path"]]  # absolute paths stay unchanged
    return table


def _read_cells(path: Path, rule: str, separator: str, **options: Any) -> pd.DataFrame:
    """
    Read a table as text, since a label may be "NA" or "01"; an error if a stray quote has made one cell of several rows.

    If names of columns have spaces around them, those before cells are no part of these either.
    """
    options = {"sep": separator, "dtype": str, "keep_default_na": False, **options}
    header = [str(name) for name in read_csv(path, rule, nrows=0, **options)]
    names = [name.strip() for name in header]
    spaced = names != header and len(set(names)) == len(names)
    table = read_csv(path, rule, skipinitialspace=spaced, **options)
    if spaced:
        table.columns = table.columns.str.strip()
    for row, cells in enumerate(table.itertuples(index=False), 1):
        lines = [line for cell in cells if "\n" in cell for line in cell.split("\n")[1:]]
        if any(part.lower().endswith(AUDIO_SUFFIXES) for line in lines for part in line.split(separator)):
            raise ValueError(
                f"Got {path} with a quote in row {row} that ends only in a later line, {rule}; double the quotes inside quoted "
                "cells and remove stray ones, or save the table with tabs as .tsv."
            )
    return table


def _with_label(corpus: pd.DataFrame, target: str | None, gaps_allowed: bool) -> pd.DataFrame:
    name = target or "label"
    if name not in corpus:
        if target is not None:
            raise ValueError(f"Got target={target!r}, expected one of the columns {list(corpus.columns)}.")
        return corpus
    if not gaps_allowed:
        check_gaps(corpus, name)
    corpus = corpus.assign(label=corpus[name].mask(gaps(corpus[name])))
    first = [column for column in ("path", "label", "speaker") if column in corpus]
    return corpus[[*first, *corpus.columns.difference(first, sort=False)]]


def gaps(column: pd.Series) -> pd.Series:
    """Whether each value of a column is missing or blank."""
    return column.isna() | (column.astype(str).str.strip() == "")


def check_gaps(corpus: pd.DataFrame, name: str) -> None:
    """Raise a ValueError if clips have no value in a column."""
    missing = gaps(corpus[name])
    if missing.any():
        named = corpus["path"].astype(str) if name != "path" else "row " + (corpus.index.to_series() + 1).astype(str)
        clips_without = named[missing].tolist()
        raise ValueError(
            f"Got {len(clips_without)} of {len(corpus)} clips without {name!r} ({first_few(clips_without)}), expected "
            "one for each; leave them out, or add the missing values."
        )
