"""Checks of a corpus' table: variants of labels and speakers, missing columns, and classes too small to test."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..validation import first_few
from .findings import Finding, finding
from .intervals import MIN_UNITS
from .names import counted
from .passages import overlapping
from .votes import PREFIX, vote_columns

_SPEAKER_LIKE = re.compile(
    r"(speaker|spk|spkr|actor|subject|participant|talker|singer|client|voice|person|user)s?(id|name|no|nr|number)?"
)
_LABEL_LIKE = re.compile(r"(emotion|emo|class|categor|target|affect|mood|sentiment|feeling)(s|y|ies)?(label|name)?s?")
_NO_SPEAKER = re.compile(r"unknown( speaker)?|unk|unspecified|undefined|anonymous|nan|n/?a|none|null|\?*")
"""Names, normalised, that stand for speakers who are not known."""
_FORM_OF_NUMBER = re.compile(r"(?<!\d)0+(?=\d)|(?<=\d)\.0$")
"""What spreadsheets and pandas drop from numbers, or add to them."""
MANY_CLIPS = 20
"""Minimum number of clips for the finding that each has its own speaker."""
FEW_SPEAKERS = 10
AVOIDED_ERRORS = 0.8
"""Minimum share of errors that knowing the speaker avoids in guessing the label (Goodman and Kruskal's lambda), for the finding
that speakers reveal labels. With two clips per speaker, of two labels at random, it is 0.5."""


def plain_name(name: object) -> str:
    """Normalise a name: case, spaces, hyphens and Unicode forms."""
    text = unicodedata.normalize("NFKC", str(name)).casefold()
    return re.sub(r"[\s_-]+", " ", text).strip()


def plain_speaker(name: object) -> str:
    """Normalise the name of a speaker: also leading zeros, in "spk01" too, and a final ".0"."""
    return _FORM_OF_NUMBER.sub("", plain_name(name))


def _similar_column(corpus: pd.DataFrame, pattern: re.Pattern[str]) -> tuple[str, str]:
    """Name of the first column whose name matches without case and punctuation, and a hint at it; empty if there is none."""
    for name in map(str, corpus.columns):
        if pattern.fullmatch(re.sub(r"[\W_]+", "", name).casefold()):
            return name, f", but {name!r} with {corpus[name].nunique()} values may be it"
    return "", ""


def check_table(corpus: pd.DataFrame) -> Iterator[Finding]:
    """Yield findings about labels and speakers."""
    if "label" in corpus:
        yield from _check_labels(corpus)
        if "corpus" in corpus:
            yield from _check_labels_of_corpora(corpus)
    else:
        yield _missing_labels(corpus)
    if "speaker" in corpus:
        yield from _check_speakers(corpus)
        if "label" in corpus:
            yield from _check_labels_of_speakers(corpus)
    else:
        yield missing_speakers(corpus)


def _missing_labels(corpus: pd.DataFrame) -> Finding:
    name, hint = _similar_column(corpus, _LABEL_LIKE)
    named = f"target={name!r} (--label-column {name})" if name else "target (--label-column)"
    return finding(
        "no-labels",
        f"there is no column 'label'{hint}, so that nothing can be trained or evaluated",
        f"specify the column by {named}, or take it from paths by layout or pattern (--layout, --pattern)",
    )


def _check_labels(corpus: pd.DataFrame) -> Iterator[Finding]:
    labels = corpus["label"].astype(str)
    misspelt: set[str] = set()
    if labels.nunique() == 1:
        yield finding(
            "one-class",
            f"all clips have the label {labels.iloc[0]!r}, so there is nothing to classify",
            "add clips of other labels, or specify another column by target (--label-column)",
        )
    voted = [name.removeprefix(PREFIX) for name in vote_columns(corpus)]
    for variants in _variants([*labels, *voted], plain_name):
        misspelt.update(variants)
        spelled = labels[labels.isin(variants)]
        rarer = labels.isin(variants) & ~labels.isin(spelled.mode()[:1])
        yield finding(
            "label-variants",
            f"{' and '.join(map(repr, variants))} are labels that differ only by case, spaces or hyphens",
            "give them the same name in the table, for example by corpus['label'].str.strip().str.lower()",
            corpus[rarer],
        )
    several = "speaker" in corpus and corpus["speaker"].nunique() > 1
    for label, part in corpus.groupby(labels, sort=True):
        n_speakers = part["speaker"].nunique() if several else None
        if label in misspelt or (len(part) > 1 and n_speakers != 1):
            continue
        what = "1 clip" if len(part) == 1 else f"{len(part)} clips of 1 speaker"
        yield finding(
            "rare-class",
            f"the label {label!r} has {what}, so it cannot be both trained and tested on different speakers",
            "add clips of other speakers, or leave out the label",
            part,
        )


def _check_labels_of_corpora(corpus: pd.DataFrame) -> Iterator[Finding]:
    """Yield a finding about labels that only one of several corpora has, by the column `corpus`."""
    labels, source = corpus["label"].astype(str), corpus["corpus"].astype(str)
    alone = source.groupby(labels).agg(["nunique", "first"]).query("nunique == 1")["first"]
    if source.nunique() > 1 and len(alone):
        named = first_few([f"{label!r} in {name}" for label, name in alone.items()])
        yield finding(
            "corpora-by-class",
            f"{counted(len(alone), 'label')} of {labels.nunique()} occur{'s' * (len(alone) == 1)} in one of {source.nunique()} "
            f"corpora only ({named}), so that rooms and microphones may give them away",
            "give labels of one meaning the same name, or leave out those that not all corpora have",
            corpus[labels.isin(alone.index)],
        )


def _check_speakers(corpus: pd.DataFrame) -> Iterator[Finding]:
    speakers = corpus["speaker"].astype(str)
    for variants in _variants(speakers, plain_speaker):
        yield finding(
            "speaker-variants",
            f"{' and '.join(map(repr, variants))} are speakers whose names differ only by case, spaces, hyphens, leading zeros "
            "or a final .0; they count as one",
            "give them the same name, or clearly different ones",
            corpus[speakers.isin(variants)],
        )
    unknown = speakers[[bool(_NO_SPEAKER.fullmatch(plain_name(name))) for name in speakers]]
    if len(unknown):
        yield finding(
            "unknown-speakers",
            f"the speaker {first_few([repr(name) for name in unknown.unique()])} of {len(unknown)} of {len(corpus)} clips counts "
            "as one, but may be several, also others of the corpus, so that speakers may be in both training and test",
            "leave these clips out, or find out who speaks",
            corpus.loc[unknown.index],
        )
    n_speakers = speakers.nunique()
    if n_speakers == len(corpus) >= MANY_CLIPS:
        yield finding(
            "speaker-per-clip",
            f"each of {len(corpus)} clips has its own speaker, so folds of speakers are random folds",
            "check that the column speaker holds speakers and not clips, or specify another by speaker_column "
            "(--speaker-column)",
        )
    elif n_speakers < FEW_SPEAKERS:
        yield finding(
            "few-speakers",
            f"results on {counted(n_speakers, 'speaker')} say little about others",
            "report the intervals, which are wide, and not only the values"
            if n_speakers >= MIN_UNITS
            else f"add speakers, since intervals need at least {MIN_UNITS}",
        )


def _check_labels_of_speakers(corpus: pd.DataFrame) -> Iterator[Finding]:
    """
    Yield a finding if speakers of several clips reveal most labels.

    A label that all of them keep, such as gender, belongs to the speakers.
    """
    counts = pd.crosstab(corpus["speaker"].astype(str), corpus["label"].astype(str)).to_numpy()
    counts = counts[counts.sum(axis=1) > 1]  # (n_speakers, n_labels)
    single = np.count_nonzero(counts, axis=1) == 1
    n_clips, n_guessed = counts.sum(), counts.sum(axis=0).max(initial=0)
    n_predicted = counts.max(axis=1, initial=0).sum()  # from the speaker; n_guessed without
    if not single.all() and n_predicted - n_guessed >= AVOIDED_ERRORS * (n_clips - n_guessed):
        yield finding(
            "speakers-by-class",
            f"{n_predicted / n_clips:.0%} of clips have the most frequent label of their speaker, and {single.sum()} of "
            f"{counted(len(counts), 'speaker')} have one label only, so that voices and labels can hardly be told apart",
            "add clips of these speakers with other labels, do not normalise by speaker, and distrust any result on speakers in "
            "the training data; if labels belong to speakers, as gender does, correct those that differ",
        )


def missing_speakers(corpus: pd.DataFrame, *, evaluated: bool = False) -> Finding:
    """
    Finding for a table without the column `speaker`, which suggests similar columns.

    With `evaluated`, the remedy names only what `evaluate` has.
    """
    name, hint = _similar_column(corpus, _SPEAKER_LIKE)
    remedy = "add the column, or specify another by speaker_column (--speaker-column)"
    if name:
        remedy = f"specify it by speaker_column={name!r} (--speaker-column {name})"
    without, whose = "folds='random' (--folds random) needs", "its"
    if not evaluated:
        without = "train(without_speakers=True) (--no-speakers) and folds='random' (--folds random) need"
        whose = "their"
    return finding(
        "no-speakers",
        f"there is no column 'speaker'{hint}, so that speakers may be in both training and test",
        f"{remedy}; {without} none, but {whose} results say little about new speakers",
    )


def _variants(names: Iterable[str], plain: Callable[[str], str]) -> list[list[str]]:
    """Groups of different names that are the same once normalised by `plain`."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[plain(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def overlaps_of(corpus: pd.DataFrame) -> np.ndarray:
    """
    Pairs of rows (p, 2) with segments of one file whose overlap is most of both: more than half of what they cover together.

    So a word in the turn of another speaker is none, nor is a segment without `end`.
    """
    if "end" not in corpus:
        return np.empty((0, 2), int)
    rows = np.flatnonzero(corpus["end"].notna())
    segments = corpus.iloc[rows]
    file = np.unique([os.path.realpath(path) for path in segments["path"]], return_inverse=True)[1]
    start = segments["start"].fillna(0).to_numpy() if "start" in corpus else np.zeros(len(segments))
    end = segments["end"].to_numpy()
    copy = np.unique(np.stack([file, start, end]), axis=1, return_inverse=True)[1].ravel()
    return np.asarray(rows[overlapping(file, start, end, copy)])


def check_overlaps(corpus: pd.DataFrame, overlaps: np.ndarray) -> Iterator[Finding]:
    """Yield a finding about `overlaps`, see `Audit`."""
    if not len(overlaps):
        return
    names = corpus.reindex(columns=["label", "speaker"]).astype(str).to_numpy()
    different = (names[overlaps[:, 0]] != names[overlaps[:, 1]]).any(axis=1)
    rows = pd.unique(overlaps[np.argsort(~different, kind="stable")].ravel())  # these first
    yield finding(
        "overlaps",
        f"{len(rows)} clips overlap by more than half with another of the same recording, {different.sum()} of {len(overlaps)} "
        "pairs under different labels or speakers. Such pairs are kept on the same side of every split",
        "correct start and end, or leave out one clip of each pair",
        corpus.loc[rows],
    )


def voices_of(corpus: pd.DataFrame, copies: np.ndarray, overlaps: np.ndarray) -> np.ndarray:
    """
    Return the voice of each clip, which splits keep together: the first name of each group of connected speakers.

    Speakers are connected if they share a digest of `copies`, (n_clips,), or have `overlaps`, see `Audit`, or if their
    names are variants of each other.
    """
    if "speaker" not in corpus:
        return copies
    speakers = corpus["speaker"].astype(str)
    n = len(corpus)
    links = [overlaps]
    for names in (speakers.map(plain_speaker), copies):
        _, first, number = np.unique(names, return_index=True, return_inverse=True)
        links.append(np.stack([np.arange(n), first[number]], axis=1))
    row, other = np.concatenate(links).T
    graph = coo_array((np.ones(len(row)), (row, other)), shape=(n, n))
    _, voice = connected_components(graph, directed=False)
    return speakers.groupby(voice).transform("min").to_numpy(str)
