"""Checks of a corpus' sound: copies of clips, and recordings unfit for training."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from ..featurizers.audio import AudioError
from .corpora import clips
from .findings import Finding
from .recordings import NO_FILE, SPECTRUM_FLOOR, Recording, measure_recordings
from .table_checks import finding

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
N_REASONS = 5

_CHECKS: list[tuple[str, str, Callable[[Recording], bool], str, str]] = [
    (
        "silent",
        "warning",
        lambda r: r.peak < SILENT_PEAK,
        "are silent, with a peak below -60 dB of full scale",
        "leave them out or record them again",
    ),
    (
        "unscaled",
        "warning",
        lambda r: r.peak > UNSCALED_PEAK,
        "have float samples far beyond full scale, which is 1",
        "divide them by the full scale of the original integers, such as 32768",
    ),
    (
        "clipped",
        "warning",
        lambda r: r.clipped > CLIPPED_SHARE,
        f"are clipped: more than {CLIPPED_SHARE:.1%} of their samples are at the peak",
        "record them at a lower level, or check that clipping does not reveal the label",
    ),
    (
        "short",
        "warning",
        lambda r: r.seconds < SHORT_SECONDS,
        f"are shorter than {SHORT_SECONDS:g} s",
        "leave them out, since they are too short for most features",
    ),
    (
        "anti-phase",
        "warning",
        lambda r: r.cancelled > CANCELLED_SHARE,
        f"have channels in anti-phase: the mono mix loses more than {CANCELLED_SHARE:.0%} of the energy",
        "keep only one channel, or invert one",
    ),
    (
        "long",
        "note",
        lambda r: r.seconds > LONG_SECONDS,
        f"are longer than {LONG_SECONDS:g} s, with one label each",
        "split them by the columns start and end, in seconds",
    ),
]


def content_of(recordings: Sequence[Recording | AudioError]) -> np.ndarray:
    """Digests of the clips' content; broken and digitally silent clips get unique ones."""
    return np.array(
        [
            f"clip {i}" if isinstance(recording, AudioError) or not recording.peak else recording.content
            for i, recording in enumerate(recordings)
        ]
    )


def check_copies(corpus: pd.DataFrame, content: np.ndarray) -> Iterator[Finding]:
    """Yield findings about clips with the same content."""
    numbers, counts = np.unique(content, return_inverse=True, return_counts=True)[1:]
    copied = np.flatnonzero(counts[numbers] > 1)
    if not len(copied):
        return
    several = {
        name: (corpus[name].iloc[copied].astype(str).groupby(numbers[copied]).transform("nunique") > 1).to_numpy()
        if name in corpus
        else np.zeros(len(copied), bool)
        for name in ("label", "speaker")
    }
    by_content = copied[np.argsort(numbers[copied], kind="stable")]
    conflicting = {name: by_content[np.isin(by_content, copied[rows])] for name, rows in several.items()}
    harmless = np.setdiff1d(by_content, np.concatenate([conflicting["label"], conflicting["speaker"]]))
    if len(rows := conflicting["label"]):
        yield finding(
            "copies-across-labels",
            "error",
            f"{len(rows)} clips are copies of each other under different labels, so at least one of the labels is wrong",
            "find out which label is right, and leave out the others",
            corpus,
            rows,
        )
    if len(rows := conflicting["speaker"]):
        n_speakers = corpus["speaker"].iloc[rows].nunique()
        yield finding(
            "copies-across-speakers",
            "warning",
            f"{len(rows)} clips are copies of each other under the names of {n_speakers} speakers. Speakers who share a clip "
            "count as one voice, so that no clip is in both training and test",
            "leave out the copies, or correct the column speaker",
            corpus,
            rows,
        )
    if len(harmless):
        n_kinds = len(np.unique(numbers[harmless]))
        yield finding(
            "copies",
            "warning",
            f"{len(harmless)} clips are copies of each other, of {n_kinds} recording{'s' * (n_kinds > 1)}. They are kept on the "
            "same side of every split, and each counts",
            "leave out the copies",
            corpus,
            harmless,
        )


def check_recordings(corpus: pd.DataFrame, recordings: Sequence[Recording | AudioError]) -> Iterator[Finding]:
    """Yield findings about single recordings, and about differences between classes."""
    broken = [i for i, recording in enumerate(recordings) if isinstance(recording, AudioError)]
    if broken:
        counts = Counter(recordings[i].reason for i in broken)  # type: ignore[union-attr]
        common = counts.most_common(N_REASONS)
        reasons = "; ".join(f"{count} because {_of_each(reason) if count > 1 else reason}" for reason, count in common)
        message = f"{len(broken)} of {len(corpus)} clips cannot be read: {reasons}"
        remedy = "repair them or leave them out"
        if any(NO_FILE in reason for reason in counts):
            remedy += "; relative paths are relative to the folder of the table"
        severity = "error" if len(broken) == len(corpus) else "warning"
        yield finding("broken", severity, message, remedy, corpus, broken)
    known = {i: recording for i, recording in enumerate(recordings) if isinstance(recording, Recording)}
    yield from _check_each(corpus, known)
    yield from _check_bandwidth(corpus, known)
    if "label" in corpus and known:
        yield from _check_conditions(corpus, known)


def _check_each(corpus: pd.DataFrame, known: dict[int, Recording]) -> Iterator[Finding]:
    for code, severity, applies, what, remedy in _CHECKS:
        rows = [i for i, recording in known.items() if applies(recording)]
        if rows:
            yield finding(code, severity, _of_clips(rows, corpus, what), remedy, corpus, rows)


def warn_of_sound(corpus: pd.DataFrame, n_jobs: int | None = None) -> list[str | None]:
    """
    Warn of clips whose predictions are unreliable, such as silent ones.

    Returns the codes of the warnings of each clip, such as "clipped; short"; None without any, or if the clip cannot be read.
    """
    recordings = measure_recordings(clips(corpus), n_jobs)
    known = {i: recording for i, recording in enumerate(recordings) if isinstance(recording, Recording)}
    codes: dict[int, list[str]] = defaultdict(list)
    for warning in _check_each(corpus, known):
        if warning.severity == "warning":
            warnings.warn(f"{warning.code}: {warning}", stacklevel=3)
            for row in warning.rows:
                codes[row].append(warning.code)
    return ["; ".join(codes[i]) if i in codes else None for i in range(len(corpus))]


def _check_bandwidth(corpus: pd.DataFrame, known: dict[int, Recording]) -> Iterator[Finding]:
    widths = {i: recording.bandwidth for i, recording in known.items() if not np.isnan(recording.bandwidth)}
    if not widths:
        return
    typical = float(np.median(list(widths.values())))
    if typical < FULL_BAND * float(np.median([known[i].rate for i in widths])) / 2:
        return
    rows = [i for i, width in widths.items() if width < NARROW * typical]
    if rows:
        yield finding(
            "band-limited",
            "warning",
            _of_clips(
                rows,
                corpus,
                f"have a bandwidth of {np.median([widths[i] for i in rows]) / 1000:.1f} kHz, the others {typical / 1000:.1f} kHz "
                f"(at {SPECTRUM_FLOOR:g} dB below the strongest band)",
            ),
            "resample all clips to the lower rate, or check that bandwidth does not reveal label or speaker",
            corpus,
            rows,
        )


def _check_conditions(corpus: pd.DataFrame, known: dict[int, Recording]) -> Iterator[Finding]:
    """Yield findings about sampling rates and levels that differ between classes."""
    rows = list(known)
    label = corpus["label"].iloc[rows].astype(str).to_numpy()
    rate = np.array([known[i].rate for i in rows])
    rates = {name: sorted(set(rate[label == name].tolist())) for name in np.unique(label)}
    shared = set.intersection(*map(set, rates.values()))
    if not shared and len(rates) > 1:
        text = ", ".join(f"{name} {'/'.join(map(str, values))}" for name, values in rates.items())
        yield finding(
            "rates-by-class",
            "warning",
            f"no sampling rate occurs in all classes (Hz: {text}), so that the rate reveals the label",
            "resample all clips to the lowest rate",
            corpus,
        )
    level = np.array([known[i].level for i in rows])
    heard = np.isfinite(level)
    levels = {
        name: float(np.median(level[heard & (label == name)]))
        for name, count in Counter(label[heard]).items()
        if count > 1
    }
    if len(levels) > 1:
        loud, soft = max(levels, key=levels.__getitem__), min(levels, key=levels.__getitem__)
        if (gap := levels[loud] - levels[soft]) > LEVEL_GAP:
            yield finding(
                "level-by-class",
                "note",
                f"clips of {loud!r} are {gap:.0f} dB louder than those of {soft!r} (medians), so that the level may reveal the "
                "label",
                "use features that do not depend on the level, unless the speakers themselves were louder",
                corpus,
            )


def _of_clips(rows: list[int], corpus: pd.DataFrame, what: str) -> str:
    """Sentence about a number of clips; the verb at the beginning of `what` is made to agree."""
    verb, rest = what.split(" ", 1)
    if len(rows) == 1:
        verb = {"are": "is", "have": "has"}.get(verb, f"{verb}s")
    return f"{len(rows)} of {len(corpus)} clips {verb} {rest}"


def _of_each(reason: str) -> str:
    """Word the reason for a broken clip, which may begin with "it" or "its", for several clips."""
    first, space, rest = reason.partition(" ")
    return {"it": "each", "its": "the"}.get(first, first) + space + rest
