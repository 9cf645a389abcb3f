"""Parts of one MP3, which cannot be entered exactly: alone, each is decoded from the beginning; many share a decoded copy."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from ..optional import require
from .audio import AudioError, Clip, native_blocks, open_audio

K = TypeVar("K")

MANY_PARTS = 4
"""From as many parts of a file on, a decoded copy is worth writing."""


def decoded_in_turn(clips: Mapping[K, Clip]) -> Iterator[dict[K, Clip]]:
    """
    Hand out clips in groups: first those that can be read as they are, then the parts of each MP3 that has many.

    Parameters
    ----------
    clips : mapping to Clip

    Yields
    ------
    group : dict of Clip
        Their samples and messages are those of the clips given. A group's copy is there until the next group is asked for, so
        that one file at a time takes room on the disk.
    """
    parts: dict[str, dict[K, Clip]] = defaultdict(dict)
    for key, clip in clips.items():
        if clip.on_disk and (clip.start or clip.end is not None):
            parts[os.fspath(clip.source)][key] = clip
    many = {path: group for path, group in parts.items() if len(group) >= MANY_PARTS and _is_mp3(path)}
    apart = {key for group in many.values() for key in group}
    yield {key: clip for key, clip in clips.items() if key not in apart}
    for path, group in many.items():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            copy: str | None = os.path.join(folder, "decoded.w64")
            try:
                _decode(path, copy)
            except (AudioError, OSError):  # each part says by itself what is wrong; or the disk is full
                copy = None
            yield {key: replace(clip, copy=copy) for key, clip in group.items()}


def _is_mp3(path: str) -> bool:
    with contextlib.suppress(AudioError), open_audio(path) as file:
        return bool(file.format == "MP3")
    return False


def _decode(path: str, copy: str | None) -> None:
    soundfile = require("soundfile")
    with contextlib.ExitStack() as stack:
        written = None
        for block, rate in native_blocks(Clip(path)):
            if written is None:
                shape = {"channels": block.shape[1], "format": "W64", "subtype": "FLOAT"}
                written = stack.enter_context(soundfile.SoundFile(copy, "w", samplerate=round(rate), **shape))
            written.write(block)
