"""Files and folders appear when they are complete, or not at all."""

import os
import subprocess
import sys

import pytest

from gendiffclf.files import atomic_file, complete_folder, create_parent


@pytest.mark.parametrize("binary", [False, True])
def test_a_file_is_replaced_once_it_is_complete(binary, tmp_path):
    path = tmp_path / "new" / "file"
    for content in ("a\nb", "ä"):
        with atomic_file(path, binary=binary) as file:
            file.write(content.encode() if binary else content)
        assert path.read_bytes() == content.encode()
    with pytest.raises(RuntimeError, match="stopped"), atomic_file(path, binary=binary):
        raise RuntimeError("stopped")
    assert os.listdir(path.parent) == ["file"]
    assert path.read_text(encoding="utf-8") == "ä"


def test_a_link_and_permissions_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch(0o600)
    link.symlink_to(target)
    with atomic_file(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_file(pipe) as file:
        file.write("text")
    assert os.read(reader, 99) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_standard_output_goes_on_in_a_file(tmp_path):
    """There, `/dev/stdout` is a regular file."""
    write = "from gendiffclf.files import atomic_file\nwith atomic_file('/dev/stdout') as file:\n    file.write('new')"
    path = tmp_path / "log"
    path.write_text("old")
    with open(path, "a") as log:
        subprocess.run([sys.executable, "-c", write], stdout=log, check=True)
    assert path.read_text() == "oldnew"


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    with atomic_file(tmp_path / ("x" * 255)) as file:
        file.write("text")
    assert (tmp_path / ("x" * 255)).read_text() == "text"


def test_a_folder_is_replaced_once_it_is_complete(tmp_path):
    folder = tmp_path / "folder"
    for name in ("a", "b"):
        with complete_folder(folder) as temporary:
            (temporary / name).touch()
    with pytest.raises(RuntimeError, match="stopped"), complete_folder(folder):
        raise RuntimeError("stopped")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(folder) == ["b"]


def test_a_folder_that_cannot_be_replaced_is_put_back(tmp_path, monkeypatch):
    folder, rename = tmp_path / "folder", os.rename
    folder.mkdir()
    (folder / "a").touch()

    def refuse(source, target):
        if str(source).endswith(".tmp"):
            raise OSError("refused")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="refused"), complete_folder(folder):
        pass
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(folder) == ["a"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    create_parent("output", tmp_path / "a" / "b" / "file")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"Got output='.*x' in a folder without write access \(it cannot be created: "):
        create_parent("output", tmp_path / "file" / "x")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ValueError, match=r"\(it is write-protected\), expected a writable one; choose another"):
        create_parent("output", tmp_path / "x")
