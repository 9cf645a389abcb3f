"""The form of an audit's result: findings with a severity, the clips concerned and a remedy."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..validation import check_choice
from .corpora import N_SHOWN
from .files import whole_file

SEVERITIES = ("error", "warning", "note")
CODES = (
    "anti-phase", "band-limited", "broken", "clipped", "copies", "copies-across-labels", "copies-across-speakers", "few-speakers",
    "label-variants", "level-by-class", "long", "no-labels", "no-speakers", "one-class", "rare-class", "rates-by-class", "short",
    "silent", "speaker-per-clip", "speaker-variants", "unscaled",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """
    One thing that an audit found.

    Attributes
    ----------
    code : str
        Short name, such as "copies" or "clipped".
    severity : {"error", "warning", "note"}
        "error": figures would be wrong, so `train` and `evaluate` stop. "warning": they go on and say it. "note": worth
        knowing.
    message : str
        What was found.
    remedy : str
        What to do about it.
    rows : tuple of int
        Rows of the corpus concerned; empty where it is the corpus as a whole.
    clips : tuple of str
        Their paths.
    """

    code: str
    severity: str
    message: str
    remedy: str
    rows: tuple[int, ...] = ()
    clips: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Message, the first clips, and remedy."""
        shown = ", ".join(dict.fromkeys(self.clips[:N_SHOWN])) + (", …" if len(self.clips) > N_SHOWN else "")
        return f"{self.message}{f' ({shown})' if shown else ''}; {self.remedy}."


@dataclass(frozen=True)
class Audit:
    """
    What `audit` found in a corpus.

    Printing it shows the findings, errors first.

    Attributes
    ----------
    n_clips : int
        Clips in the table.
    n_speakers : int or None
        Speakers; None without the column.
    seconds : float
        Length of all clips together; NaN where no sound was read.
    classes : dict of str to int
        Clips of each label.
    findings : tuple of Finding
        By severity.
    content : ndarray of shape (n_clips,), str
        Digest of each clip's content. Equal for copies.
    voices : ndarray of shape (n_clips,), str
        What must stay on one side of a split: the speaker; for speakers who share a clip, or whose names differ by case or
        spaces only, the first of them; without speakers the clip's content.
    accepted : tuple of str
        Codes of findings that the user accepts: they neither stop nor warn, and are recorded.
    """

    n_clips: int
    n_speakers: int | None
    seconds: float
    classes: dict[str, int]
    findings: tuple[Finding, ...]
    content: np.ndarray
    voices: np.ndarray
    accepted: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that stop `train` and `evaluate`: those of severity "error" that are not accepted."""
        return tuple(f for f in self.findings if f.severity == "error" and f.code not in self.accepted)

    def accept(self, codes: Iterable[str]) -> Audit:
        """
        The same audit with more findings accepted.

        Parameters
        ----------
        codes : iterable of str
            Such as "copies-across-labels"; a finding of that code need not be there.

        Raises
        ------
        ValueError
            If no finding has such a code.
        """
        codes = tuple(codes)
        for code in codes:
            check_choice("accept", code, CODES)
        return replace(self, accepted=tuple(dict.fromkeys((*self.accepted, *codes))))

    def enforce(self, ignore: Iterable[str] = ()) -> None:
        """
        Raise for errors, and warn of warnings.

        Parameters
        ----------
        ignore : iterable of str
            Codes to pass over.

        Raises
        ------
        ValueError
            If there is a finding of severity "error".
        """
        self.raise_errors(ignore)
        ignored = {*ignore, *self.accepted}
        for finding in self.findings:
            if finding.severity == "warning" and finding.code not in ignored:
                warnings.warn(f"{finding.code}: {finding}", stacklevel=4)

    def raise_errors(self, ignore: Iterable[str] = ()) -> None:
        """Raise for errors, as `enforce` does, without warnings."""
        errors = [f"\n- {finding.code}: {finding}" for finding in self.errors if finding.code not in ignore]
        if errors:
            raise ValueError(
                "Got a corpus that would give wrong figures, expected one without these errors; mend them, or accept those that "
                f"are right as they are (accept, --accept CODE).{''.join(errors)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Everything but digests and voices, as JSON knows it."""
        return {
            "n_clips": self.n_clips,
            "n_speakers": self.n_speakers,
            "seconds": None if np.isnan(self.seconds) else self.seconds,
            "classes": self.classes,
            "findings": [asdict(finding) for finding in self.findings],
            "accepted": list(self.accepted),
        }

    def to_json(self, path: str | Path) -> None:
        """
        Write the findings as JSON.

        Parameters
        ----------
        path : path-like
            Replaced if it exists, once the new content is complete.
        """
        with whole_file(path) as file:
            file.write(json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n")

    def __str__(self) -> str:
        """A line for the corpus, and one for each finding."""
        speakers = "unknown speakers" if self.n_speakers is None else f"{self.n_speakers} speakers"
        length = "" if np.isnan(self.seconds) else f", {self.seconds / 60:.1f} minutes"
        labels = ", ".join(
            f"{label if label == label.strip() else repr(label)} {count}" for label, count in self.classes.items()
        )
        lines = [f"{self.n_clips} clips of {speakers}{length}." + (f" Clips by label: {labels}." if labels else "")]
        for finding in self.findings:
            accepted = ", accepted" if finding.code in self.accepted else ""
            lines.append(f"{finding.severity}{accepted}: {finding.code}: {finding}")
        counts = Counter(finding.severity for finding in self.findings)
        found = ", ".join(
            f"{counts[name]} {name}{'s' if counts[name] > 1 else ''}" for name in SEVERITIES if counts[name]
        )
        return "\n".join([*lines, f"Found: {found or 'nothing to object to'}."])
