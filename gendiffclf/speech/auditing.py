"""Audit of a corpus for problems that would make training or evaluation wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .corpora import check_corpus, clip_keys, clips
from .findings import SEVERITIES, Audit, Finding
from .names import NO_CONTENT
from .passages import cuts_of
from .recordings import Recording, measure_recordings
from .sound_checks import check_copies, check_recordings, content_of, copies_of
from .table_checks import check_overlaps, check_table, overlaps_of, voices_of


def audit(corpus: pd.DataFrame, *, sound: bool = True, n_jobs: int | None = None) -> Audit:
    """
    Find problems in a corpus that would make results wrong, and clips that are unfit for training.

    Parameters
    ----------
    corpus : DataFrame
        With `path`, as returned by `read_corpus`, and optionally `label` and `speaker`.
    sound : bool, default=True
        Whether to decode the clips. Otherwise only the table is checked, and copies are recognised by path, start and end.
    n_jobs : int, optional
        Number of decoding threads; by default one per processor.

    Returns
    -------
    audit : Audit
        Printing it shows the findings; `to_json` writes them.

    Raises
    ------
    ValueError
        If the table is empty, lacks `path`, or has clips without path, label or speaker.

    Notes
    -----
    `train` and `evaluate` begin with an audit. Its errors (labels that differ only by case or spaces, copies of a clip with
    different labels, a single label, no speakers) stop them unless listed in `accept`; its warnings are shown. Copies are
    found by their decoded samples, also at another gain, inverted or in another lossless format, but not if they were padded,
    resampled or compressed with loss. Overlaps are pairs of cuts of one recording of which more than half of what they cover
    together is in both: segments of one file, or clips with the same sound.

    Examples
    --------
    >>> import pandas as pd
    >>> from gendiffclf.speech import audit
    >>> table = {"path": ["1.wav", "2.wav", "3.wav"], "label": ["sad", "Sad ", "sad"], "speaker_id": ["a", "b", "c"]}
    >>> for finding in audit(pd.DataFrame(table), sound=False).findings:
    ...     print(finding.severity, finding.code, finding.clips)
    error label-variants ('2.wav',)
    error no-speakers ()
    """
    corpus = check_corpus(corpus, ("path",), ("label", "speaker"))
    if sound:
        recordings = measure_recordings(clips(corpus), n_jobs)
        findings = list(check_recordings(corpus, recordings))
        seconds = float(sum(recording.seconds for recording in recordings if isinstance(recording, Recording)))
        content = content_of(recordings)
        copies = copies_of(recordings, content)
        return _audit(corpus, content, copies, cuts_of(recordings, copies), findings, seconds)
    return _audit(corpus, np.array(clip_keys(corpus)))


def audit_first(
    corpus: pd.DataFrame, rows: np.ndarray | None = None, *, accept: Iterable[str] = (), ignore: Iterable[str] = ()
) -> Audit:
    """
    Audit a corpus before training or evaluation, and raise or warn for its findings, unless their codes are accepted or ignored.

    With precomputed features as `rows`, no clip is decoded, and clips of equal features are copies. A ValueError if there are
    errors; those in the table are raised before any clip is decoded.
    """
    different = [f"{NO_CONTENT}{i}" for i in range(len(corpus))]
    if rows is None:
        _audit(corpus, np.array(different)).accept(accept).raise_errors(ignore)
        audited = audit(corpus)
    else:
        digests = [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).hexdigest() for row in rows]
        broken = [not np.isfinite(row).all() for row in rows]
        audited = _audit(corpus, np.where(broken, different, digests))
    audited = audited.accept(accept)
    audited.enforce(ignore)
    return audited


def _audit(
    corpus: pd.DataFrame,
    content: np.ndarray,
    copies: np.ndarray | None = None,
    cuts: np.ndarray | None = None,
    of_sound: Iterable[Finding] = (),
    seconds: float = float("nan"),
) -> Audit:
    copies = content if copies is None else copies
    overlaps = overlaps_of(corpus)
    if cuts is not None:
        overlaps = np.unique(np.sort(np.concatenate([overlaps, cuts])), axis=0)
    findings = [*check_table(corpus), *check_copies(corpus, copies), *check_overlaps(corpus, overlaps), *of_sound]
    labels = corpus["label"].astype(str).value_counts().sort_index() if "label" in corpus else {}
    return Audit(
        n_clips=len(corpus),
        n_speakers=int(corpus["speaker"].nunique()) if "speaker" in corpus else None,
        seconds=seconds,
        classes={str(label): int(count) for label, count in labels.items()},
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        content=content,
        copies=copies,
        overlaps=overlaps,
        voices=voices_of(corpus, copies, overlaps),
    )
