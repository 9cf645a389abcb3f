"""Detection of audio files that hold less data than their headers declare, or, as MP3 without or with a wrong header, more."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

# Lengths that writers of streams put in headers.
UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)
# Magic number and version of a page of Ogg, which has at most 65,307 bytes.
OGG_PAGE = b"OggS\0"
OGG_TAIL = 2 * 65307
# Each byte with its bits in reverse order, in which checksums of Ogg are those of zlib.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# Bitrates by their number in the header of a frame, in MPEG-2 and 2.5, and in MPEG-1.
MP3_KILOBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)


def declared_share(source: Any) -> float | None:
    """
    Share of the data declared in the header of a file, given by its path or content, that the file holds; at most 1.

    Measured on the audio data of WAV, RF64, Wave64, AIFF and AU files. None for other formats, and for headers without a length.
    """
    with _opened(source) as file:
        reader = _READERS.get(file.read(4))
        declared = reader(file) if reader else None
        if declared is None:
            return None
        start, length = declared
        return min((file.seek(0, os.SEEK_END) - start) / length, 1.0)


def mp3_samples(source: Any) -> tuple[int, int]:
    """
    Number of samples per channel in the frames of an MP3 file, given by its path or content, and in one frame; 0 without any.

    Frames count if they have the version and the sampling rate of the first one. Those of an information header and of padding
    by the encoder are among them.
    """
    source = source if isinstance(source, bytes) else Path(source).read_bytes()
    place, count, size, same = 0, 0, 0, None
    if source.startswith(b"ID3"):
        place = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(source[6:10], (21, 14, 7, 0), strict=False))
    while 0 <= (place := source.find(b"\xff", place)) < len(source) - 3:
        kind, rates = source[place + 1] & 0xFE, source[place + 2]
        version, bitrate, rate = kind >> 3 & 3, rates >> 4, rates >> 2 & 3
        valid = kind & 0xE6 == 0xE2 and version != 1 and 0 < bitrate < 15 and rate < 3  # layer III
        if not valid or same not in (None, (kind, rate)):
            place += 1
            continue
        same, size = (kind, rate), 1152 if version == 3 else 576
        hertz = (44100, 48000, 32000)[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
        place += size // 8 * MP3_KILOBITS[version == 3][bitrate] * 1000 // hertz + (rates >> 1 & 1)
        count += 1
    return count * size, size


def ogg_samples(source: Any) -> int:
    """
    Number of samples per channel that the last page of an Ogg file, given by its path or content, declares; at 48 kHz in Opus.

    0 if the first and last page of audio are whole: decoders then find the length themselves, also of a stream that does not
    start at 0. Damage between them shows in decoding.
    """
    with _opened(source) as file:
        first = next((whole for position, whole in _ogg_pages(file) if position > 0), False)
        tail = max(file.seek(0, os.SEEK_END) - OGG_TAIL, 0)
        file.seek(tail)
        file.seek(tail + max(file.read().rfind(OGG_PAGE), 0))
        declared, last = next(_ogg_pages(file), (0, True))
    return 0 if first and last else max(declared, 0)


def _opened(source: Any) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


# Offset and declared length of the data, in bytes, as each reader returns them.
DeclaredRange = tuple[int, int] | None


def _chunks(file: IO[bytes], byte_order: str) -> Iterator[tuple[bytes, int]]:
    """Names and lengths of the chunks of a RIFF or AIFF file, which is at the start of each chunk's content."""
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack(f"{byte_order}4sI", chunk)
        start = file.tell()
        yield name, length
        file.seek(start + length + length % 2)


def _riff(file: IO[bytes]) -> DeclaredRange:
    length_64 = 0
    for name, length in _chunks(file, "<"):
        if name == b"data":
            unknown = not length_64 and (length == 0 or length >= 0x7FFFFFFF - 4096)
            return None if unknown else (file.tell(), length_64 or length)
        if name == b"ds64":  # RF64
            length_64 = struct.unpack("<8xQ", file.read(16))[0]
    return None


def _aiff(file: IO[bytes]) -> DeclaredRange:
    for name, length in _chunks(file, ">"):
        if name == b"SSND":
            return None if length in UNKNOWN_LENGTHS else (file.tell(), length)
    return None


def _au(file: IO[bytes]) -> DeclaredRange:
    start, length = struct.unpack(">II", file.read(8))
    return None if length in UNKNOWN_LENGTHS else (start, length)


def _wave64(file: IO[bytes]) -> DeclaredRange:
    file.seek(40)  # skip the GUIDs of container and format, and the file's length
    while len(chunk := file.read(24)) == 24:
        name, length = struct.unpack("<4s12xQ", chunk)
        if length < 24:
            return None
        if name == b"data":
            return file.tell(), max(length - 24, 1)
        file.seek((length + 7) // 8 * 8 - 24, os.SEEK_CUR)
    return None


def _ogg_pages(file: IO[bytes]) -> Iterator[tuple[int, bool]]:
    """Position of the last sample in each page from here on, and whether the page has its checksum."""
    while (header := file.read(27)).startswith(OGG_PAGE):
        sizes = file.read(sum(header[26:]))
        page = header[:22] + bytes(4) + header[26:] + sizes + file.read(sum(sizes))
        checksum = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        given = int.from_bytes(header[22:26].translate(_REVERSED))
        yield int.from_bytes(header[6:14], "little", signed=True), checksum == given


_READERS: dict[bytes, Callable[[IO[bytes]], DeclaredRange]] = {
    b"RIFF": _riff,
    b"RF64": _riff,
    b"FORM": _aiff,
    b".snd": _au,
    b"riff": _wave64,
}
