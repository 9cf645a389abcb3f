"""Audio in any form, on disk or in memory, as mono float32 samples at the rate that an encoder expects."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..optional import require
from .headers import declared_share, mp3_samples, ogg_samples

# A file with a smaller share of the data that its header declares is truncated; some writers are off by a few bytes.
MIN_SHARE = 0.99
# Corpus tables round the ends of segments: an end at most this far behind the last sample is accepted.
END_TOLERANCE_SECONDS = 0.05
# Number of frames of an MP3 that may be its header or the encoder's padding.
MP3_PADDING = 4
# Positions in Opus are at this rate, in Hz, whatever that of the samples is.
OPUS_RATE = 48000
MAX_CHANNELS = 32
BLOCK_SECONDS = 20.0
NO_FILE = "there is no such file"
NO_SAMPLES = "it holds no samples, expected at least one"
# Code of libsndfile's error for a file named .mp3 that is none; its message says that the file does not exist.
NO_MP3 = 7
# libsndfile's number of frames for streams of unknown length.
UNKNOWN_FRAMES = 2**62


class AudioError(ValueError):
    """
    Raised for a clip that cannot be turned into features.

    Parameters
    ----------
    reason : str
        What is wrong with the clip.
    source : str, default=""
        Path of the clip, or the type of the object.
    index : int or None, default=None
        Position in the list of clips, counted from 0.

    Examples
    --------
    >>> raise AudioError("it holds no samples", source="a.wav", index=3)
    Traceback (most recent call last):
        ...
    gendiffclf.featurizers.audio.AudioError: Got clip 3 (a.wav): it holds no samples.
    """

    def __init__(self, reason: str, source: str = "", index: int | None = None) -> None:
        super().__init__(reason, source, index)
        self.reason = reason
        self.source = source
        self.index = index

    def __str__(self) -> str:
        number = "" if self.index is None else f" {self.index}"
        source = f" ({self.source})" if self.source else ""
        return f"Got clip{number}{source}: {self.reason.rstrip('.')}."

    def at(self, source: str, index: int) -> AudioError:
        """Return the same error with the clip's source and index."""
        return AudioError(self.reason, self.source or source, index)


@dataclass(frozen=True)
class Clip:
    """
    A clip before decoding: its source, and the segment to read.

    The source is a path, the content of a file, samples, or an object with `get_all_samples()`; `rate`, in Hz, is None if it has
    its own. The segment is in seconds; `end=None` means the end of the source. `copy` is a decoded copy to read instead.
    """

    source: Any
    rate: float | None = None
    start: float = 0.0
    end: float | None = None
    copy: str | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Name of the clip in messages."""
        if self.on_disk:
            part = "" if not self.start and self.end is None else f", {self.start:g} s to {_end_name(self.end)}"
            return f"{os.fspath(self.source)}{part}"
        return type(self.source).__name__

    @property
    def on_disk(self) -> bool:
        """Whether the source is a path."""
        return isinstance(self.source, str | os.PathLike)

    def digest(self, files: dict[str, bytes]) -> bytes:
        """
        Hash the clip's content without decoding it: clips with equal digests have equal samples.

        Digests of `files` by path are updated in place, so that a file of many segments is hashed once.
        """
        state = hashlib.blake2b(digest_size=20)
        if self.on_disk:
            path = os.fspath(self.source)
            if path not in files:
                files[path] = _file_digest(path)
            state.update(b"file" + files[path])
        elif isinstance(self.source, bytes):
            state.update(b"file" + hashlib.blake2b(self.source, digest_size=20).digest())
        else:
            samples, rate = _decoded(self.source, self.rate)
            state.update(f"array {samples.dtype.str} {samples.shape} {float(rate)!r}".encode())
            state.update(np.ascontiguousarray(samples).data)
        state.update(f" {self.start!r} {self.end!r}".encode())
        return state.digest()

    def seconds(self) -> float:
        """Length in seconds: exact for arrays; for files from the header, which is close enough to plan batches."""
        if self.on_disk or isinstance(self.source, bytes):
            with open_audio(self.source) as file:
                whole = file.frames / file.samplerate
        else:
            samples, rate = _decoded(self.source, self.rate)
            whole = (max(samples.shape) if samples.size else 0) / rate
        return max(min(whole, whole if self.end is None else self.end) - self.start, 0.0)

    def load(self, rate: int) -> NDArray[np.float32]:
        """
        Decode, crop, mix down to mono and resample to `rate`, in Hz, into an array of shape (n_samples,), float32.

        Samples are finite and nominally in [-1, 1], as integers are scaled by the range of their type. Raises an `AudioError` if
        the clip is missing, not audio, truncated, empty, has more than two dimensions, or holds NaN or infinity.
        """
        if self.on_disk or isinstance(self.source, bytes):
            samples, native_rate = self.native_samples()
        else:
            samples, native_rate = _decoded(self.source, self.rate)
            samples = _frames_first(_scaled(samples))  # (frames,) or (frames, channels)
            samples = samples[_frame_range(self, len(samples), native_rate)]
        if samples.ndim == 2:
            samples = samples.mean(axis=1)  # (frames, channels) -> (frames,)
        if not np.isfinite(samples).all():
            raise AudioError("it holds NaN or infinite samples, expected finite ones", self.name)
        if native_rate != rate and len(samples):
            samples = require("soxr").resample(samples, native_rate, rate)
        if not len(samples):
            raise AudioError(NO_SAMPLES, self.name)
        return np.ascontiguousarray(samples, dtype=np.float32)

    def native_samples(self) -> tuple[NDArray[np.float32], float]:
        """Decode and crop a file into samples, (n_samples, n_channels), float32, at its own rate, in Hz; see `native_blocks`."""
        blocks = list(native_blocks(self))
        if not blocks:
            raise AudioError(NO_SAMPLES, self.name)
        return np.concatenate([block for block, _ in blocks]), blocks[0][1]


def native_blocks(clip: Clip) -> Iterator[tuple[NDArray[np.float32], float]]:
    """
    Decode a file, cropped to the clip's segment, and yield it in blocks of at most `BLOCK_SECONDS` and their rate, in Hz.

    Blocks have the shape (n, channels), float32. An `AudioError` if the file is missing, not audio, truncated, or too short for
    the segment.
    """
    with open_whole(clip.copy or clip.source, clip.name) as file:
        segment = _frame_range(clip, file.frames, file.samplerate)
        first = 0
        if segment.start and file.format != "MP3":  # seeking in MP3 is inexact
            first = file.seek(segment.start)
        position, expected = first, segment.stop - first
        for block in _blocks(file, expected):
            part = block[max(segment.start - position, 0) :]
            position += len(block)
            if len(part):
                yield part, float(file.samplerate)
        read = position - first
        if read < MIN_SHARE * expected and (file.frames < UNKNOWN_FRAMES or clip.end is not None):
            raise AudioError(_truncated(read / expected), clip.name)


def _blocks(file: Any, count: int) -> Iterator[NDArray[np.float32]]:
    """Read at most `count` frames in blocks, (n, channels), since a header may declare more than fit in memory."""
    # soundfile seeks to the current position after each read, which is inexact in MP3, and fails in a FLAC of unknown length.
    file.seekable = lambda: False
    size = round(BLOCK_SECONDS * file.samplerate)
    while len(block := file.read(min(size, count), dtype="float32", always_2d=True)):
        count -= len(block)
        yield block


def _truncated(share: float) -> str:
    return f"it is truncated: {share:.0%} of the samples declared in its header are present"


def _end_name(end: float | None) -> str:
    return "the end" if end is None else f"{end:g} s"


def _error_text(error: Exception) -> str:
    """Message of libsndfile without the path."""
    if getattr(error, "code", None) == NO_MP3:
        return "Format not recognised"
    return str(error).rpartition(": ")[2].rstrip(". ") or type(error).__name__


def open_audio(source: Any) -> Any:
    """Open a path or the content of a file with soundfile."""
    soundfile = require("soundfile")
    in_memory = isinstance(source, bytes)
    name = "bytes" if in_memory else os.fspath(source)
    if not in_memory and not os.path.exists(name):
        raise AudioError(NO_FILE, name)
    if not in_memory and os.path.isdir(name):
        raise AudioError("it is a folder, expected an audio file", name)
    empty = not source if in_memory else os.path.isfile(name) and not os.path.getsize(name)
    if empty:
        raise AudioError("it is an empty file (0 bytes), expected audio", name)
    try:
        return soundfile.SoundFile(io.BytesIO(source) if in_memory else name)
    except (soundfile.SoundFileError, OSError, TypeError, UnicodeError) as error:
        raise AudioError(
            f"it cannot be read as audio ({_error_text(error)}), expected wav, flac, ogg, mp3 or another format of libsndfile",
            name,
        ) from error


@contextlib.contextmanager
def open_whole(source: Any, name: str) -> Iterator[Any]:
    """Open an audio file; an `AudioError` if its header declares another length than it has, or reading from it fails."""
    with open_audio(source) as file:
        share = declared_share(source)
        if file.format == "OGG" and (declared := ogg_samples(source)):
            rate = OPUS_RATE if file.subtype == "OPUS" else file.samplerate
            share = file.frames / file.samplerate / (declared / rate)
        if share is not None and share < MIN_SHARE:
            raise AudioError(_truncated(share), name)
        held, frame = mp3_samples(source) if file.format == "MP3" else (0, 0)
        if MIN_SHARE * held > file.frames + MP3_PADDING * frame:
            raise AudioError(
                f"it is an MP3 of about {held / file.samplerate:.1f} s with a length of {file.frames / file.samplerate:.1f} s in "
                "its header, or none, so that its end would be lost; convert it to WAV",
                name,
            )
        try:
            yield file
        except require("soundfile").SoundFileError as error:
            raise AudioError(f"decoding failed ({_error_text(error)})", name) from error


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise errors of the file system as errors of the clip with this name."""
    try:
        yield
    except FileNotFoundError as error:
        raise AudioError(NO_FILE, name) from error
    except OSError as error:
        raise AudioError(f"it cannot be read ({error.strerror})", name) from error


def _file_digest(path: str) -> bytes:
    with reading(path), open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).digest()


def _decoded(source: Any, rate: float | None) -> tuple[NDArray[Any], float]:
    """Samples and rate of an array or a decoder object."""
    if hasattr(source, "get_all_samples"):
        try:
            decoded = source.get_all_samples()
        except (RuntimeError, ValueError, OSError) as error:
            raise AudioError(f"its decoder failed ({error})", type(source).__name__) from error
        samples, rate = np.asarray(decoded.data), float(decoded.sample_rate)
    else:
        samples = source
    assert rate is not None  # `inputs.as_clip` makes sure of it
    if samples.ndim not in (1, 2):
        raise AudioError(f"its samples have shape {samples.shape}, expected (n_samples,) or (n_samples, n_channels)")
    return samples, float(rate)


def _scaled(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Integers to [-1, 1) by their type's range; floats as they are."""
    if samples.dtype == np.uint8:
        return np.asarray((samples.astype(np.float32) - 128) / 128, dtype=np.float32)
    if samples.dtype in (np.int8, np.int16, np.int32):
        scale = np.float64(np.iinfo(samples.dtype).max) + 1  # the type itself cannot hold it
        return np.asarray(samples / scale, dtype=np.float32)
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite samples are reported as such
            return samples.astype(np.float32)
    raise AudioError(f"its samples are {samples.dtype}, expected floats, int8, int16, int32 or uint8")


def _frames_first(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the time axis first: of two axes, the longer one is time."""
    if samples.ndim == 1:
        return samples
    if min(samples.shape) > MAX_CHANNELS:
        raise AudioError(
            f"its samples have shape {samples.shape}, expected one clip of at most {MAX_CHANNELS} channels"
        )
    return samples.T if samples.shape[0] < samples.shape[1] else samples


def _frame_range(clip: Clip, frames: int, rate: float) -> slice:
    """Slice of the frames in the clip's segment."""
    length = frames / rate
    start, end = clip.start, length if clip.end is None else clip.end
    if end > length + END_TOLERANCE_SECONDS or (start >= length and start > 0):
        raise AudioError(
            f"its segment from {start:g} s to {_end_name(clip.end)} is outside the {length:g} s of the file", clip.name
        )
    return slice(min(round(start * rate), frames), min(round(end * rate), frames))
