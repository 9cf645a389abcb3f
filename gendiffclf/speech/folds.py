"""Training and test clips of each fold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sized
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

from ..validation import check_choice, check_integer, first_few, shown
from .findings import Audit
from .names import FOLDS, counted
from .table_checks import missing_speakers, plain_speaker

Fold = tuple[np.ndarray, np.ndarray]
"""Training rows and test rows of a corpus."""

SPLITS = ("train", "dev", "test")
"""Published splits: the first two are trained on."""
N_DIGITS = 16
"""Number of digits of clips' digests in trained pipelines and model folders."""


def checked_folds(corpus: pd.DataFrame, folds: Any, n_folds: int) -> Any:
    """
    Return `folds` of `evaluate`, pairs as a list.

    Raises a ValueError for invalid `folds` or `n_folds`, or a column that they need and the corpus lacks.
    """
    check_integer("n_folds", n_folds, 2)
    if not hasattr(folds, "split"):  # as strings have, too
        return _checked_pairs(folds)
    if not isinstance(folds, str):
        return folds
    check_choice("folds", folds, FOLDS)
    if folds == "split" and "split" not in corpus:
        raise ValueError(f"Got folds='split' with the columns {list(corpus.columns)}, expected 'split' among them.")
    if folds in ("speaker", "leave-one-speaker-out") and "speaker" not in corpus:
        raise ValueError(f"Got folds={folds!r}, and {missing_speakers(corpus, evaluated=True)}")
    return folds


def _checked_pairs(folds: Any) -> list[Any]:
    pairs = list(folds) if isinstance(folds, Iterable) else [folds]
    for pair in pairs:
        if not (isinstance(pair, Sized) and len(pair) == 2):
            raise ValueError(
                f"Got folds with {shown(pair)}, expected pairs of row numbers (train, test); pass the fold of each clip as "
                "PredefinedSplit(folds), and a number of folds as n_folds."
            )
    return pairs


def fold_rows(
    corpus: pd.DataFrame,
    audited: Audit,
    valid: np.ndarray,
    folds: str | Iterable[Fold] | Any,
    *,
    n_folds: int,
    random_state: int,
) -> list[Fold]:
    """
    Return the training and test rows of each fold, among the `valid` rows; `checked_folds` comes first.

    All rows are split, so that the folds do not depend on which clips are broken. Folds by speaker keep voices together, others
    leave copies of tested clips out of training.
    """
    voices = audited.voices
    if isinstance(folds, str) and folds == "split":
        pairs = [_published_split(corpus)]
    elif hasattr(folds, "split"):
        splitter = _splitter(corpus, folds, n_folds, random_state, voices) if isinstance(folds, str) else folds
        pairs = _split_by(splitter, corpus, audited)
        pairs = [pair for pair in pairs if np.isin(pair[1], valid).any()]  # not that of a speaker of broken clips only
    else:
        pairs = [(_rows(train, len(corpus)), _rows(test, len(corpus))) for train, test in folds]
        if not pairs or any(len(np.intersect1d(train, test)) for train, test in pairs):
            raise ValueError(f"Got {len(pairs)} folds, expected at least 1, and no clip on both sides of a fold.")
    pairs = [(np.intersect1d(train, valid), np.intersect1d(test, valid)) for train, test in pairs]
    if not pairs or not all(len(rows) for pair in pairs for rows in pair):
        raise ValueError(
            "Got a fold whose training or test clips are all broken, expected others too; repair them, or leave out the fold."
        )
    return without_copies(pairs, audited, stacklevel=4)


def _splitter(corpus: pd.DataFrame, folds: str, n_folds: int, random_state: int, voices: np.ndarray) -> Any:
    if folds == "random":
        _check_enough_clips(corpus, n_folds)
        return StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    n_voices = len(np.unique(voices))
    n_speakers = corpus["speaker"].nunique()
    if n_voices < 2 <= n_speakers:
        raise ValueError(
            f"Got a corpus of {n_speakers} speakers with folds={folds!r}, who count as one voice since each shares clips with "
            "another, expected at least 2 voices; leave out the copies that `audit` lists, or correct the column speaker."
        )
    if n_voices < 2:
        raise ValueError(
            f"Got a corpus of {n_speakers} speaker with folds={folds!r}, expected at least 2; folds='random' works, but its "
            "results say nothing about other speakers."
        )
    if folds == "leave-one-speaker-out":
        return LeaveOneGroupOut()
    n_folds = min(n_folds, n_voices)
    _check_enough_clips(corpus, n_folds)
    return StratifiedGroupKFold(n_folds, shuffle=True, random_state=random_state)


def _check_enough_clips(corpus: pd.DataFrame, n_folds: int) -> None:
    """Raise a ValueError where labels cannot be spread over folds."""
    most = corpus["label"].value_counts().max()
    if most < n_folds:
        raise ValueError(
            f"Got {n_folds} folds of a corpus with at most {counted(most, 'clip')} of a label, expected a label with at least "
            f"{n_folds}; use fewer folds (n_folds, --n-folds), or add clips."
        )


def _split_by(splitter: Any, corpus: pd.DataFrame, audited: Audit) -> list[Fold]:
    groups = audited.voices if "speaker" in corpus else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)  # see `shared_speakers`
        if any(finding.code == "rare-class" for finding in audited.findings):
            warnings.filterwarnings("ignore", "The least populated class in y", UserWarning)
        pairs = list(splitter.split(np.zeros((len(corpus), 1)), corpus["label"].to_numpy(), groups))
    if not all(len(rows) for pair in pairs for rows in pair):
        raise ValueError(
            f"Got {len(pairs)} folds of which one has no training or no test clips, as few speakers have most clips, "
            "expected both; use fewer folds (n_folds), or add speakers."
        )
    return pairs


def without_copies(pairs: list[Fold], audited: Audit, stacklevel: int = 3) -> list[Fold]:
    """Remove training clips that are copies of tested ones or overlap with them, and warn; folds by speaker have none."""
    copies, (first, second) = audited.copies, audited.overlaps.T
    kept = []
    for train, test in pairs:
        overlapping = np.concatenate([first[np.isin(second, test)], second[np.isin(first, test)]])
        kept.append((train[~(np.isin(copies[train], copies[test]) | np.isin(train, overlapping))], test))
    n_left_out = sum(len(train) for train, _ in pairs) - sum(len(train) for train, _ in kept)
    if n_left_out:
        warnings.warn(
            f"Got folds with copies of tested clips among the training clips, or segments that overlap with them, {n_left_out} "
            "in all; they are left out of training.",
            stacklevel=stacklevel,
        )
    if not all(len(train) for train, _ in kept):
        raise ValueError(
            "Got a fold whose training clips are all copies of tested ones, expected other clips too; remove the copies."
        )
    return kept


def shared_speakers(corpus: pd.DataFrame, pairs: list[Fold], voices: np.ndarray) -> tuple[str, ...]:
    """Return the speakers whose voice, in `Audit`, is on both sides of a fold; warn of them, or if speakers are unknown."""
    if "speaker" not in corpus:
        warnings.warn(
            "Got a corpus without the column 'speaker': speakers may be on both sides of a fold, and results too optimistic "
            "for new speakers.",
            stacklevel=3,
        )
        return ()
    twice = np.concatenate([np.intersect1d(voices[train], voices[test]) for train, test in pairs])
    shared = sorted(set(corpus["speaker"].astype(str)[np.isin(voices, twice)]))
    if shared:
        warnings.warn(
            f"Got {len(shared)} speakers on both sides of a fold ({first_few(shared)}): results are too optimistic for new "
            "speakers; folds='speaker' keeps each speaker on one side.",
            stacklevel=3,
        )
    return tuple(shared)


def warn_of_learnt(pipeline: Any, corpus: pd.DataFrame, test: np.ndarray, content: np.ndarray) -> None:
    """
    Warn of tested speakers and clips that are in the training data of a fitted pipeline, or of unknown speakers.

    Speakers are no error, as people may have the same name. `train` records digests of the training clips as `clips_`.
    """
    learnt = set(getattr(pipeline, "clips_", ()))
    n_learnt = sum(digest[:N_DIGITS] in learnt for digest in content[test])
    if n_learnt:
        warnings.warn(
            f"Got {n_learnt} of {len(test)} clips that are in the model's training data: results on them say nothing "
            "about other clips; leave them out, or cross-validate without a model.",
            stacklevel=3,
        )
    if "speaker" not in corpus:
        warnings.warn(
            "Got a corpus without the column 'speaker': whether its speakers are in the model's training data is unknown, and "
            "intervals over clips are too narrow for new speakers.",
            stacklevel=3,
        )
        return
    tested = {plain_speaker(name): str(name) for name in corpus["speaker"].iloc[test]}
    names = {plain_speaker(name) for name in getattr(pipeline, "speakers_", ())}
    shared = sorted(name for plain, name in tested.items() if plain in names)
    if shared:
        warnings.warn(
            f"Got a corpus in which {len(shared)} of {len(tested)} speakers are also in the model's training data "
            f"({first_few(shared)}): results may be too optimistic for new speakers; leave out their clips, unless they are "
            "different people of the same name.",
            stacklevel=3,
        )


def _published_split(corpus: pd.DataFrame) -> Fold:
    splits = corpus["split"].astype(object)
    unknown = splits[~splits.isin(SPLITS)].fillna("")
    if len(unknown):
        counts = ", ".join(f"{count} with {name!r}" for name, count in unknown.astype(str).value_counts().items())
        raise ValueError(
            f"Got folds='split' with clips of unknown splits ({counts}), expected {', '.join(map(repr, SPLITS))} in the column "
            "'split'; rename them, or leave out these clips."
        )
    train, test = np.flatnonzero(splits.isin(SPLITS[:2])), np.flatnonzero(splits == "test")
    if not len(train) or not len(test):
        names = sorted(set(splits))
        raise ValueError(f"Got folds='split' with the splits {names}, expected 'train' or 'dev', and 'test'.")
    return train, test


def _rows(rows: Any, n_clips: int) -> np.ndarray:
    rows = np.asarray(rows)
    rows = np.flatnonzero(rows) if rows.dtype == bool and len(rows) == n_clips else rows
    if rows.dtype.kind not in "iu" or rows.ndim != 1 or not len(rows) or rows.min() < 0 or rows.max() >= n_clips:
        raise ValueError(f"Got rows of a fold as {rows!r}, expected row numbers from 0 to {n_clips - 1}.")
    return rows
