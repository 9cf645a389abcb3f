"""Results of an audit: findings with severity, affected clips and remedy."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..validation import check_choice, check_names, first_few
from .corpora import clip_name
from .names import counted
from .provenance import JsonResult, as_json

CODES = {
    "error": ("copies-across-labels", "label-variants", "no-speakers", "one-class"),
    "warning": (
        *("anti-phase", "band-limited", "broken", "clipped", "copies", "copies-across-speakers"),
        *("corpora-by-class", "overlaps"),
        *("rare-class", "rates-by-class", "short", "silence-by-class", "silent", "speaker-per-clip"),
        *("speaker-variants", "speakers-by-class", "unknown-speakers", "unscaled"),
    ),
    "note": ("few-speakers", "level-by-class", "long", "no-labels"),
}
"""Codes of findings by severity."""
SEVERITIES = tuple(CODES)


@dataclass(frozen=True)
class Finding:
    """
    A finding of an audit.

    Attributes
    ----------
    code : str
        Short name, such as "copies" or "clipped".
    severity : {"error", "warning", "note"}
        "error": results would be wrong, so `train` and `evaluate` raise an error. "warning": they warn and go on. "note":
        for information.
    message : str
        What was found.
    remedy : str
        What to do about it.
    rows : tuple of int
        Affected rows of the corpus; empty if the finding is about the whole corpus.
    clips : tuple of str
        Paths of these rows, each with its segment in seconds if it is part of a file.
    """

    code: str
    severity: str
    message: str
    remedy: str
    rows: tuple[int, ...] = ()
    clips: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = first_few(list(dict.fromkeys(self.clips)))
        return f"{self.message}{f' ({shown})' if shown else ''}; {self.remedy}."


def finding(
    code: str, message: str, remedy: str, affected: pd.DataFrame | None = None, severity: str | None = None
) -> Finding:
    """Create a finding about some rows of a corpus, or the whole, of the severity in `CODES` unless another is given."""
    severity = severity or next(name for name, codes in CODES.items() if code in codes)
    rows = {} if affected is None else affected.to_dict("index")
    clips = tuple(clip_name(str(row["path"]), row) for row in rows.values())
    return Finding(code, severity, message, remedy, tuple(rows), clips)


@dataclass(frozen=True)
class Audit(JsonResult):
    """
    Result of `audit`. Printing it shows the findings, errors first.

    Attributes
    ----------
    n_clips : int
        Number of clips.
    n_speakers : int or None
        Number of speakers; None if unknown.
    seconds : float
        Total length of the clips; NaN if they were not decoded.
    classes : dict of str to int
        Number of clips by label.
    findings : tuple of Finding
        Sorted by severity.
    content : ndarray of shape (n_clips,), str
        Digest of each clip's samples.
    copies : ndarray of shape (n_clips,), str
        Equal for copies, also at another gain: the first of their digests.
    overlaps : ndarray of shape (n_pairs, 2), int
        Rows of cuts of one recording of which more than half of what they cover together is in both.
    voices : ndarray of shape (n_clips,), str
        Groups to keep on one side of a split: the speaker, or the first of several speakers who share a clip, have overlaps
        or whose names differ only by case, spaces or leading zeros; without speakers, the clip's content.
    accepted : tuple of str
        Codes of accepted findings, which neither stop nor warn, and are recorded.
    """

    n_clips: int
    n_speakers: int | None
    seconds: float
    classes: dict[str, int]
    findings: tuple[Finding, ...]
    content: np.ndarray
    copies: np.ndarray
    overlaps: np.ndarray
    voices: np.ndarray
    accepted: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that stop `train` and `evaluate`: errors that are not accepted."""
        return tuple(f for f in self.findings if f.severity == "error" and f.code not in self.accepted)

    def accept(self, codes: Iterable[str]) -> Audit:
        """
        Return the same audit with more findings accepted.

        Parameters
        ----------
        codes : iterable of str
            Such as "copies-across-labels"; there need not be a finding with this code.

        Raises
        ------
        ValueError
            If a code does not exist, or a string is given.
        """
        check_names("accept", codes)
        codes = tuple(codes)
        for code in codes:
            check_choice("accept", code, sorted(itertools.chain(*CODES.values())))
        return replace(self, accepted=tuple(dict.fromkeys((*self.accepted, *codes))))

    def enforce(self, ignore: Iterable[str] = ()) -> None:
        """
        Raise an error for errors, and warn for warnings.

        Parameters
        ----------
        ignore : iterable of str, default=()
            Codes of findings to ignore.

        Raises
        ------
        ValueError
            If there is an error that is not accepted or ignored.
        """
        self.raise_errors(ignore)
        ignored = {*ignore, *self.accepted}
        for finding in self.findings:
            if finding.severity == "warning" and finding.code not in ignored:
                warnings.warn(f"{finding.code}: {finding}", stacklevel=5)

    def raise_errors(self, ignore: Iterable[str] = ()) -> None:
        """Raise a ValueError for errors, as `enforce` does, without warnings."""
        errors = [f"\n- {finding.code}: {finding}" for finding in self.errors if finding.code not in ignore]
        if errors:
            raise ValueError(
                "Got a corpus with errors that would make results wrong, expected none; correct them, or accept those that are "
                f"intended (accept, --accept CODE).{''.join(errors)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return everything except digests, copies, overlaps and voices as JSON types."""
        left_out = ("content", "copies", "overlaps", "voices")
        content = {name: value for name, value in vars(self).items() if name not in left_out}
        return as_json({**content, "findings": [asdict(finding) for finding in self.findings]})

    @property
    def size(self) -> str:
        """Numbers of clips, speakers and minutes, as text."""
        speakers = "unknown speakers" if self.n_speakers is None else counted(self.n_speakers, "speaker")
        length = "" if np.isnan(self.seconds) else f", {self.seconds / 60:.1f} minutes"
        return f"{counted(self.n_clips, 'clip')} of {speakers}{length}"

    def __str__(self) -> str:
        labels = ", ".join(
            f"{label if label == label.strip() else repr(label)} {count}" for label, count in self.classes.items()
        )
        lines = [f"{self.size}." + (f" Clips by label: {labels}." if labels else "")]
        for finding in self.findings:
            accepted = ", accepted" if finding.code in self.accepted else ""
            lines.append(f"{finding.severity}{accepted}: {finding.code}: {finding}")
        counts = Counter(finding.severity for finding in self.findings)
        summary = ", ".join(counted(counts[name], name) for name in SEVERITIES if counts[name])
        return "\n".join([*lines, f"Found: {summary or 'no problems'}."])
