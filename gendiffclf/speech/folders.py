"""Reading a folder of clips into a table: what a layout or a pattern makes of their paths."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ..validation import first_few
from .layouts import LAYOUTS, Layout, Row, add_people

AUDIO_SUFFIXES = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".au", ".w64", ".rf64",
    ".sph", ".nist", ".caf", ".snd", ".voc",
)  # fmt: skip
_OTHER_AUDIO = (".m4a", ".m4b", ".aac", ".wma", ".amr", ".3gp", ".webm", ".wv", ".ape")
"""Audio that libsndfile does not read."""
_VIDEO = (".mp4", ".avi")
"""Recordings with sound, which corpora with a known layout have beside the sound alone."""


def read_folder(folder: Path, layout: str | None, pattern: str | None, on_mismatch: str) -> pd.DataFrame:
    """Read the paths of all clips below a folder, and the columns in them; see `read_corpus`."""
    naming = LAYOUTS[layout] if layout is not None else Layout("", "a clip", ".*")
    ignored = re.compile(naming.ignore)
    files = _files_below(folder)
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in files
        if path.suffix.lower() in AUDIO_SUFFIXES and not ignored.fullmatch(path.stem)
    )
    if not names:
        others = sum(path.suffix.lower() in (*_VIDEO, *_OTHER_AUDIO) for path in files)
        hint = f"; convert its {others} other recordings to .wav first, for example with ffmpeg" if others else ""
        raise ValueError(f"Got {folder} without audio files, expected {', '.join(AUDIO_SUFFIXES)} in it{hint}.")
    foreign = [repr(name) for name in names if re.search("[\ud800-\udfff]", name)]
    if foreign:
        raise ValueError(
            f"Got {len(foreign)} of {len(names)} names in {folder} that are not UTF-8 ({first_few(foreign)}), expected UTF-8; "
            "rename the files, for example with convmv."
        )
    read = {(folder / name).with_suffix("") for name in names}  # other files of these names are their originals
    suffixes = _OTHER_AUDIO if layout is not None else (*_OTHER_AUDIO, *_VIDEO)
    unread = [path for path in files if path.suffix.lower() in suffixes and path.with_suffix("") not in read]
    if unread:
        endings = ", ".join(sorted({path.suffix.lower() for path in unread}))
        warnings.warn(
            f"Got {len(unread)} audio files in {folder} that end in {endings}; they are left out. Convert them, for example with "
            "ffmpeg.",
            stacklevel=3,
        )
    parse: Callable[[str], Row | None] = naming.parse if pattern is None else _pattern_parser(pattern)
    rows = {name: parse(name) for name in names}
    unfit = [name for name, row in rows.items() if row is None]
    if unfit:
        form = (
            f"names like {naming.example}, as {naming.title} has them" if pattern is None else f"paths like {pattern}"
        )
        message = f"Got {len(unfit)} of {len(names)} files in {folder} that do not match ({first_few(unfit)}), expected {form}"
        if len(unfit) == len(names):
            fitting = [name for name, other in LAYOUTS.items() if all(map(other.parse, names))]
            remedy = (
                f"layout={fitting[0]!r} (--layout {fitting[0]}) fits" if fitting else "choose another layout or pattern"
            )
            raise ValueError(f"{message}; {remedy}.")
        if on_mismatch == "raise":
            raise ValueError(f"{message}; on_mismatch='warn' (--skip-unfit) leaves them out.")
        warnings.warn(f"{message}; they are left out.", stacklevel=3)
    table = pd.DataFrame([{"path": str(folder / name), **row} for name, row in rows.items() if row is not None])
    if layout is not None and layout != "meld":  # where numbers start again in each split
        table = _without_duplicates(table)
    if naming.people:
        return add_people(table, folder, *naming.people)
    return table if naming.add_metadata is None else naming.add_metadata(table, folder)


def _files_below(folder: Path) -> list[Path]:
    """Return all files below a folder that are not hidden, following links but visiting each folder once."""
    files, seen = [], {os.path.realpath(folder)}
    for here, folders, names in os.walk(folder, followlinks=True):
        found, folders[:] = sorted(folders, key=lambda name: (os.path.islink(os.path.join(here, name)), name)), []
        for name in _visible(found):
            real = os.path.realpath(os.path.join(here, name))
            if real not in seen:
                folders.append(name)
                seen.add(real)
        files += [Path(here, name) for name in _visible(names)]
    return files


def _visible(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]


def _pattern_parser(pattern: str) -> Callable[[str], Row | None]:
    """Return a function from a path to its columns by a pattern."""
    names: list[str] = []
    expression = ""
    for i, part in enumerate(re.split(r"(\{\w*\}|\*\*/?|\*)", pattern)):
        name = part[1:-1]
        if i % 2 == 0:  # text between what stands for something
            expression += re.escape(part)
        elif part in ("*", "{}"):
            expression += "[^/]*"
        elif part in ("**", "**/"):
            expression += ".*" if part == "**" else "(?:.*/)?"
        elif name in names:
            expression += f"(?P={name})"
        elif not name.isidentifier():
            raise ValueError(f"Got pattern={pattern!r} with {part}, expected names of columns in braces.")
        elif name == "path":
            raise ValueError(f"Got pattern={pattern!r} with {part}, which is the path itself; choose another name.")
        else:
            names.append(name)
            # Non-greedy: in {speaker}_*.wav the speaker ends at the first underscore.
            expression += f"(?P<{name}>[^/]+?)"
    if not names:
        raise ValueError(f"Got pattern={pattern!r} without columns, expected one in braces, such as {{label}}.")
    compiled = re.compile(expression, re.DOTALL)

    def parse(path: str) -> Row | None:
        match = compiled.fullmatch(path)
        return None if match is None else match.groupdict()

    return parse


def _without_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """
    Leave out files with the name and speaker of another, in any folder and format.

    Of formats the first of `AUDIO_SUFFIXES` is kept, and of these the largest file, since others may be truncated.
    """
    paths = [Path(path) for path in table["path"]]
    keys = table.reindex(columns=["speaker"]).assign(
        name=[path.stem for path in paths],
        suffix=[AUDIO_SUFFIXES.index(path.suffix.lower()) for path in paths],
        size=[path.stat().st_size if path.exists() else np.nan for path in paths],  # a dangling link is a broken clip
    )
    keys = keys.sort_values(["suffix", "size"], ascending=[True, False])  # stable, with NaN last
    duplicated = (keys.duplicated(["name", "speaker"]) & keys["size"].notna()).sort_index()
    if duplicated.any():
        names = table["path"][duplicated].tolist()
        warnings.warn(
            f"Got {len(names)} of {len(table)} files twice ({first_few(names)}); the duplicates are left out.",
            stacklevel=4,
        )
    return table[~duplicated].reset_index(drop=True)
