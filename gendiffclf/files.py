"""Atomic writing of files and folders."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], *, binary: bool = False) -> Iterator[Any]:
    """
    Open a file that is written under a temporary name and renamed when complete; missing folders are created.

    A link stays, an existing file keeps its permissions, and a device or pipe is written to.
    """
    as_text: dict[str, Any] = {} if binary else {"encoding": "utf-8", "newline": ""}
    kind = "b" if binary else ""
    if is_stream(path):
        with open(path, f"a{kind}", **as_text) as file:
            yield file
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, f"x{kind}", **as_text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a device, a pipe, or a stream of the process, such as /dev/stdout, which others may write to as well."""
    return os.path.exists(path) and (
        not os.path.isfile(path) or os.path.dirname(os.path.abspath(path)) in ("/dev", "/dev/fd")
    )


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON; an existing file is replaced once the new one is complete."""
    with atomic_file(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def complete_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which is renamed to `folder` if no error occurs."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
            os.rename(folder, old)  # a folder that is not empty cannot be replaced by renaming
            try:
                os.rename(temporary, folder)
            except BaseException:
                os.rename(old, folder)
                raise
            shutil.rmtree(old)
        else:
            os.rename(temporary, folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(temporary)


def create_parent(name: str, path: Path) -> None:
    """Create the folder of a file or folder `path` to be written later; raise a ValueError if that will not be possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(path.parent, os.W_OK) else "it is write-protected"
    except OSError as error:
        reason = f"it cannot be created: {error.strerror}"
    if reason is not None:
        raise ValueError(
            f"Got {name}={str(path)!r} in a folder without write access ({reason}), expected a writable one; choose another."
        )
