"""Checks of a corpus' sound: copies of clips, and recordings unfit for training."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet
from scipy.spatial import KDTree
from scipy.stats import mannwhitneyu

from ..featurizers.audio import NO_FILE, AudioError
from ..validation import first_few
from .corpora import clips
from .findings import Finding, finding
from .names import NO_CONTENT, counted
from .recordings import SPECTRUM_FLOOR, Recording, measure_recordings

SAME_SKETCH = 0.03
"""Maximum distance of the sketches of copies: that of noise at -30 dB. Rounding to 16 bits is far below, and unrelated clips have
one of about 1.4."""
SILENT_PEAK = 1e-3
UNSCALED_PEAK = 2.0
CLIPPED_SHARE = 1e-3
SHORT_SECONDS = 0.1
LONG_SECONDS = 60.0
CANCELLED_SHARE = 0.9
NARROW = 0.6
"""Bandwidth, as a share of the corpus' median, below which a clip counts as band-limited."""
FULL_BAND = 0.7
"""Minimum median bandwidth of a corpus, as a share of half the sampling rate, for the check of band-limited clips; the spectrum
of vowels alone ends earlier anyway."""
LEVEL_GAP = 6.0
SAME_RATES = 0.5
"""Share of two labels' clips at common sampling rates up to which the rate tells them apart."""
SILENCE_GAP = 0.1
"""Minimum difference of two labels' silence, in seconds; sounds begin and end more or less softly."""
TOLD_APART = 0.95
"""Minimum probability that a clip of one label has more silence than one of another. Between emotions of RAVDESS it is 0.84."""
MIN_CLIPS = 10
"""Minimum number of clips of a label for these checks, unless rates have nothing in common."""
N_REASONS = 5
"""Reasons of broken clips in a message, the most frequent ones."""

# Code, condition on columns of measurements, message and remedy of the checks of single recordings.
_CHECKS: list[tuple[str, Callable[[pd.DataFrame], pd.Series], str, str]] = [
    (
        "silent",
        lambda table: table["peak"] < SILENT_PEAK,
        "are silent, with a peak below -60 dB of full scale",
        "leave them out or record them again",
    ),
    (
        "unscaled",
        lambda table: table["peak"] > UNSCALED_PEAK,
        "have float samples far beyond full scale, which is 1",
        "divide them by the full scale of the original integers, such as 32768",
    ),
    (
        "clipped",
        lambda table: table["clipped"] > CLIPPED_SHARE,
        f"are clipped: more than {CLIPPED_SHARE:.1%} of their samples are at the peak",
        "record them at a lower level, or check that clipping does not reveal the label",
    ),
    (
        "short",
        lambda table: table["seconds"] < SHORT_SECONDS,
        f"are shorter than {SHORT_SECONDS:g} s",
        "leave them out, since they are too short for most features",
    ),
    (
        "anti-phase",
        lambda table: table["cancelled"] > CANCELLED_SHARE,
        f"have channels in anti-phase: the mono mix loses more than {CANCELLED_SHARE:.0%} of the energy",
        "keep only one channel, or invert one",
    ),
    (
        "long",
        lambda table: table["seconds"] > LONG_SECONDS,
        f"are longer than {LONG_SECONDS:g} s, with one label each",
        "split them by the columns start and end, in seconds",
    ),
]


def content_of(recordings: Sequence[Recording | AudioError]) -> np.ndarray:
    """Digests of the clips' content; broken clips and those of one constant value get unique ones."""
    return np.array(
        [
            f"{NO_CONTENT}{i}" if isinstance(recording, AudioError) or not recording.peak else recording.content
            for i, recording in enumerate(recordings)
        ]
    )


def copies_of(recordings: Sequence[Recording | AudioError], content: np.ndarray) -> np.ndarray:
    """
    For each clip the first digest of `content`, (n_clips,), among its copies.

    These may have another gain, also a negative one, or sample format.
    """
    measured = {
        digest: (*recording.sketch, recording.seconds)
        for digest, recording in zip(content, recordings, strict=True)
        if isinstance(recording, Recording) and any(recording.sketch)
    }
    digests = sorted(measured)
    groups = DisjointSet(content)
    if digests:
        points = np.array([measured[digest] for digest in digests])
        inverted = np.hstack([-points[:, :-1], points[:, -1:]])
        tree = KDTree(points)
        for places in (points, inverted):
            for digest, near in zip(digests, tree.query_ball_point(places, SAME_SKETCH), strict=True):
                for i in near:
                    groups.merge(digest, digests[i])
    first = {digest: min(group) for group in groups.subsets() for digest in group}
    return np.array([first[digest] for digest in content])


def check_copies(corpus: pd.DataFrame, copies: np.ndarray) -> Iterator[Finding]:
    """Yield findings about copies, see `Audit`."""
    table = corpus.reindex(columns=["label", "speaker"]).astype(str).assign(content=copies)
    table = table[table["content"].duplicated(keep=False)].sort_values("content", kind="stable")
    several = table.groupby("content")[["label", "speaker"]].transform("nunique") > 1
    relabelled, renamed, harmless = (
        table[rows] for rows in (several["label"], several["speaker"], ~several.any(axis=1))
    )
    if len(relabelled):
        yield finding(
            "copies-across-labels",
            f"{len(relabelled)} clips are copies of each other under different labels, so at least one of the labels is wrong",
            "find out which label is right, and leave out the others",
            corpus.loc[relabelled.index],
        )
    if len(renamed):
        yield finding(
            "copies-across-speakers",
            f"{len(renamed)} clips are copies of each other under the names of {renamed['speaker'].nunique()} speakers. Speakers "
            "who share a clip count as one voice, so that no clip is in both training and test",
            "leave out the copies, or correct the column speaker",
            corpus.loc[renamed.index],
        )
    if len(harmless):
        kinds = counted(harmless["content"].nunique(), "recording")
        yield finding(
            "copies",
            f"{len(harmless)} clips are copies of each other, of {kinds}. They are kept on the "
            "same side of every split, and each counts",
            "leave out the copies",
            corpus.loc[sorted(harmless.index)],
        )


def check_recordings(corpus: pd.DataFrame, recordings: Sequence[Recording | AudioError]) -> Iterator[Finding]:
    """Yield findings about single recordings, and about differences between classes."""
    reasons = {i: recording.reason for i, recording in enumerate(recordings) if isinstance(recording, AudioError)}
    if reasons:
        common = Counter(reasons.values()).most_common()
        causes = [f"{count} because {_of_each(reason) if count > 1 else reason}" for reason, count in common]
        listed = first_few(causes, N_REASONS, "; ")
        remedy = f"repair them or leave them out{about_paths(reasons.values())}"
        severity = "error" if len(reasons) == len(corpus) else "warning"
        message = f"{len(reasons)} of {len(corpus)} clips cannot be read: {listed}"
        yield finding("broken", message, remedy, corpus.loc[list(reasons)], severity)
    table = _measurements(recordings)
    yield from _check_each(corpus, table)
    yield from _check_bandwidth(corpus, table)
    if "label" in corpus and len(table):
        yield from _check_conditions(corpus, table)


def about_paths(reasons: Iterable[str]) -> str:
    """Remedy for clips whose paths do not exist, to append to a message; empty if this is none of the reasons."""
    if NO_FILE not in reasons:
        return ""
    return "; relative paths are relative to the folder of the table, with / between folders and no spaces around them"


def _measurements(recordings: Sequence[Recording | AudioError]) -> pd.DataFrame:
    """Table with the attributes of the recordings that could be read, indexed by the row of the clip."""
    readable = {i: recording for i, recording in enumerate(recordings) if isinstance(recording, Recording)}
    return pd.DataFrame(readable.values(), readable.keys(), [field.name for field in fields(Recording)])


def _check_each(corpus: pd.DataFrame, table: pd.DataFrame) -> Iterator[Finding]:
    for code, applies, what, remedy in _CHECKS:
        rows = table.index[applies(table)]
        if len(rows):
            yield finding(code, _of_clips(rows, corpus, what), remedy, corpus.loc[rows])


def warn_of_sound(corpus: pd.DataFrame, n_jobs: int | None = None) -> pd.Series:
    """
    Warn of clips whose predictions are unreliable, such as silent ones.

    Returns the codes of the warnings of each clip, such as "clipped; short"; None without any, or if the clip cannot be read.
    """
    codes: list[list[str]] = [[] for _ in range(len(corpus))]
    for warning in _check_each(corpus, _measurements(measure_recordings(clips(corpus), n_jobs))):
        if warning.severity == "warning":
            warnings.warn(f"{warning.code}: {warning}", stacklevel=3)
            for row in warning.rows:
                codes[row].append(warning.code)
    return pd.Series(["; ".join(found) or None for found in codes], dtype=object)


def _check_bandwidth(corpus: pd.DataFrame, table: pd.DataFrame) -> Iterator[Finding]:
    table = table.dropna(subset="bandwidth")
    typical = table["bandwidth"].median()
    narrow = table[table["bandwidth"] < NARROW * typical]
    if len(narrow) and typical >= FULL_BAND * table["rate"].median() / 2:
        what = (
            f"have a bandwidth of {narrow['bandwidth'].median() / 1000:.1f} kHz, the others {typical / 1000:.1f} kHz "
            f"(at {SPECTRUM_FLOOR:g} dB below the strongest band)"
        )
        yield finding(
            "band-limited",
            _of_clips(narrow.index, corpus, what),
            "resample all clips to the lower rate, or check that bandwidth does not reveal label or speaker",
            corpus.loc[narrow.index],
        )


def _check_conditions(corpus: pd.DataFrame, table: pd.DataFrame) -> Iterator[Finding]:
    """Yield findings about sampling rates, silence and levels that differ between classes."""
    label = corpus["label"].iloc[table.index].astype(str).to_numpy()
    yield from _check_rates(corpus, label, table["rate"])
    for name, verb in (("lead", "begin"), ("tail", "end")):
        seconds = table[name].dropna().groupby(label[table[name].notna()])
        medians = seconds.median()[seconds.count() >= MIN_CLIPS]
        if not len(medians) or medians.max() - medians.min() < SILENCE_GAP:
            continue
        more, less = medians.idxmax(), medians.idxmin()
        pair = seconds.get_group(more), seconds.get_group(less)
        if mannwhitneyu(*pair).statistic >= TOLD_APART * len(pair[0]) * len(pair[1]):
            yield finding(
                "silence-by-class",
                f"clips of {more!r} {verb} with {medians[more]:.2f} s of silence, those of {less!r} with {medians[less]:.2f} s "
                "(medians), and hardly any are alike, so that the silence reveals the label",
                "cut the silence off all clips in the same way",
            )
    level = table["level"].where(np.isfinite(table["level"])).groupby(label)
    levels = level.median()[level.count() > 1]
    if len(levels) and (gap := levels.max() - levels.min()) > LEVEL_GAP:
        loud, soft = levels.idxmax(), levels.idxmin()
        yield finding(
            "level-by-class",
            f"clips of {loud!r} are {gap:.0f} dB louder than those of {soft!r} (medians), so that the level may reveal the label",
            "use features that do not depend on the level, unless the speakers themselves were louder",
        )


def _check_rates(corpus: pd.DataFrame, label: np.ndarray, rate: pd.Series) -> Iterator[Finding]:
    """Yield a finding if two labels have few sampling rates in common."""
    counts = pd.crosstab(label, rate.to_numpy())
    shares, enough = counts.div(counts.sum(axis=1), axis=0), counts.sum(axis=1).to_numpy() >= MIN_CLIPS
    values = shares.to_numpy()  # (n_labels, n_rates)
    for i, name in enumerate(shares.index):
        common = np.minimum(values[i], values).sum(axis=1)
        different = np.flatnonzero((common == 0) | ((common <= SAME_RATES) & enough[i] & enough))
        if len(different):
            text = ", ".join(f"{name} {_rates_text(part[part > 0])}" for name, part in shares.iterrows())
            yield finding(
                "rates-by-class",
                f"the sampling rate reveals labels such as {name!r} and {shares.index[different[0]]!r} (Hz: {text})",
                "resample all clips to the lowest rate",
            )
            return


def _rates_text(shares: pd.Series) -> str:
    if len(shares) == 1:
        return str(shares.index[0])
    return " and ".join(f"{rate} ({share:.0%})" for rate, share in shares.items())


def _of_clips(rows: pd.Index, corpus: pd.DataFrame, what: str) -> str:
    """
    Sentence about a number of clips, with their number by label, since a fault of one label reveals it.

    The verb at the beginning of `what` is made to agree.
    """
    verb, rest = what.split(" ", 1)
    if len(rows) == 1:
        verb = {"are": "is", "have": "has"}.get(verb, f"{verb}s")
    sentence = f"{len(rows)} of {len(corpus)} clips {verb} {rest}"
    counts = corpus.reindex(columns=["label"]).loc[rows, "label"].value_counts()
    if len(rows) == 1 or not len(counts):
        return sentence
    return f"{sentence}; by label: {first_few([f'{label} {count}' for label, count in counts.items()])}"


def _of_each(reason: str) -> str:
    """Word the reason for a broken clip, which may begin with "it" or "its", for several clips."""
    first, space, rest = reason.partition(" ")
    return {"it": "each", "its": "the"}.get(first, first) + space + rest
