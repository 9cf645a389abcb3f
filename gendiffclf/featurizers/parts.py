"""Segments of MP3 files. As seeking is inexact, each is decoded from the start of the file; many share a decoded copy."""

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

# Number of segments of a file from which on a decoded copy saves time.
MIN_SEGMENTS = 4


def group_by_file(clips: Mapping[K, Clip]) -> Iterator[dict[K, Clip]]:
    """
    Yield clips in groups: first those to be read directly, then the segments of each MP3 that has many.

    They have the same samples and messages as those passed in. The decoded copy of a group is deleted when the next group is
    requested, so that there is one at a time.
    """
    segments: dict[str, dict[K, Clip]] = defaultdict(dict)
    for key, clip in clips.items():
        if clip.on_disk and (clip.start or clip.end is not None):
            segments[os.fspath(clip.source)][key] = clip
    decoded = {path: group for path, group in segments.items() if len(group) >= MIN_SEGMENTS and _is_mp3(path)}
    grouped = {key for group in decoded.values() for key in group}
    yield {key: clip for key, clip in clips.items() if key not in grouped}
    for path, group in decoded.items():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            copy: str | None = os.path.join(folder, "decoded.w64")
            try:
                _decode(path, copy)
            except (AudioError, OSError):  # a broken file, which each segment reports, or a full disk
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
