"""How much of what a file's header promises is there, for the formats whose headers tell."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from typing import IO, Any

# Lengths written before they were known.
STREAMED = (0, 0xFFFFFFFF)
# Ogg's pages hold at most 65,307 bytes.
OGG_TAIL = 2 * 65307


def promised_share(source: Any) -> float | None:
    """
    Share of the promised bytes of sound that a file holds.

    Parameters
    ----------
    source : path or bytes
        The file, or its content.

    Returns
    -------
    share : float or None
        At most 1; None for formats whose headers do not tell, and where a header promises nothing. Of WAV, RF64, Wave64, AIFF
        and AU it is that of the data's bytes, of Ogg (Vorbis, Opus) that of the last page's.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        reader = next((read for magic, read in _READERS.items() if head.startswith(magic)), None)
        promised = None if reader is None else reader(file, size)
        return None if promised is None else min((size - promised[0]) / promised[1], 1.0)


# Each reader returns where the data begin and how many bytes there should be, or None.
Promise = tuple[int, int] | None


def _riff(file: IO[bytes], size: int) -> Promise:
    length_64 = 0
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"ds64":  # RF64
            length_64 = struct.unpack("<8xQ", file.read(16))[0]
            length -= 16
        elif name == b"data":
            length = length_64 or length
            unknown = not length_64 and (length == 0 or length >= 0x7FFFFFFF - 4096)
            return None if unknown else (file.tell(), length)
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _aiff(file: IO[bytes], size: int) -> Promise:
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack(">4sI", chunk)
        if name == b"SSND":
            return None if length in STREAMED else (file.tell(), length)
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _au(file: IO[bytes], size: int) -> Promise:
    file.seek(4)
    start, length = struct.unpack(">II", file.read(8))
    return None if length in STREAMED else (start, length)


def _wave64(file: IO[bytes], size: int) -> Promise:
    file.seek(40)  # the file's name and length, and the name of its kind
    while len(chunk := file.read(24)) == 24:
        name, length = struct.unpack("<4s12xQ", chunk)
        if length < 24:
            return None
        if name == b"data":
            return file.tell(), max(length - 24, 1)
        file.seek((length + 7) // 8 * 8 - 24, os.SEEK_CUR)
    return None


def _ogg(file: IO[bytes], size: int) -> Promise:
    start = max(size - OGG_TAIL, 0)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(b"OggS\0")
    if place < 0:
        return None
    header = tail[place : place + 27]
    sizes = tail[place + 27 : place + 27 + header[26]] if len(header) == 27 else b""
    whole = len(header) == 27 and len(sizes) == header[26]
    # Of a page whose own header is cut off nothing is known but that it is longer than this.
    return start + place, 27 + len(sizes) + sum(sizes) if whole else 2 * (size - start - place)


_READERS: dict[bytes, Callable[[IO[bytes], int], Promise]] = {
    b"RIFF": _riff,
    b"RF64": _riff,
    b"FORM": _aiff,
    b".snd": _au,
    b"riff": _wave64,
    b"OggS": _ogg,
}
