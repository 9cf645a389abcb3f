"""The cache keeps what it was given, whole or not at all, within its bound."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone

from gendiffclf.featurizers import FeatureCache
from gendiffclf.featurizers.cache import STALE_SECONDS, default_folder, open_cache

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
KEY = "ab" * 20


def key(number):
    return f"{number:040x}"


@SHARED_FOLDER
@given(features=hnp.arrays(st.sampled_from([np.float32, np.float64]), hnp.array_shapes(min_dims=1, max_dims=3)))
def test_what_is_put_is_got(tmp_path, features):
    cache = FeatureCache(tmp_path)
    cache.put(KEY, features)
    found = cache.get(KEY)
    assert found.dtype == features.dtype
    np.testing.assert_array_equal(found, features)


def test_what_was_never_put_is_not_there(tmp_path):
    assert FeatureCache(tmp_path / "nowhere").get(KEY) is None
    assert len(FeatureCache(tmp_path / "nowhere")) == 0


def test_a_torn_entry_is_removed_at_whichever_byte_it_ends(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put(KEY, np.arange(5, dtype=np.float32))
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.get(KEY) is None
        assert not path.exists()


def test_a_changed_byte_is_noticed(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put(KEY, np.arange(5, dtype=np.float32))
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for place in range(8, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        found = cache.get(KEY)
        assert found is None or np.array_equal(found, np.arange(5))  # the header has spare spaces


def test_a_process_killed_while_writing_leaves_whole_entries_only(tmp_path):
    program = (
        "import sys, numpy as np\n"
        "from gendiffclf.featurizers.cache import FeatureCache\n"
        "cache = FeatureCache(sys.argv[1])\n"
        "for i in range(10**9):\n"
        "    cache.put(f'{i % 50:040x}', np.full(50_000, i % 50, dtype=np.float32))\n"
    )
    for delay in (0.0, 0.02, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
        deadline = time.monotonic() + 30
        while not list(tmp_path.rglob("*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        cache = FeatureCache(tmp_path)
        found = [cache.get(key(i)) for i in range(50)]
        assert any(features is not None for features in found)
        for number, features in enumerate(found):
            assert features is None or (features == number).all()


def test_a_process_killed_between_writing_and_moving(tmp_path):
    program = (
        "import os, signal, sys, numpy as np\n"
        "from gendiffclf.featurizers import cache\n"
        "cache.os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"cache.FeatureCache(sys.argv[1]).put('{KEY}', np.ones(3))\n"
    )
    code = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode
    assert code == -signal.SIGKILL
    cache = FeatureCache(tmp_path)
    assert cache.get(KEY) is None
    (left,) = tmp_path.rglob("*.tmp")
    cache.trim()
    assert left.exists()  # it may belong to a process that is still writing
    old = time.time() - STALE_SECONDS - 1
    os.utime(left, (old, old))
    cache.trim()
    assert not left.exists()


def test_processes_write_the_same_entries_at_once(tmp_path):
    program = (
        "import sys, numpy as np\n"
        "from gendiffclf.featurizers.cache import FeatureCache\n"
        "cache = FeatureCache(sys.argv[1], max_bytes=2_000_000)\n"
        "for i in range(300):\n"
        "    cache.put(f'{i % 20:040x}', np.full(20_000, i % 20, dtype=np.float32))\n"
        "    found = cache.get(f'{(i + 7) % 20:040x}')\n"
        "    assert found is None or (found == (i + 7) % 20).all()\n"
        "    if i % 50 == 0: cache.trim()\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_bound_removes_what_was_not_used_for_longest(tmp_path):
    cache = FeatureCache(tmp_path, max_bytes=5_000)
    for number in range(10):
        cache.put(key(number), np.zeros(200, dtype=np.float32))
        path = cache._path(key(number))
        os.utime(path, (1000 + number, 1000 + number))
    assert cache.get(key(0)) is not None  # used just now
    cache.trim()
    assert cache.n_bytes <= 5_000
    assert cache.get(key(0)) is not None
    assert cache.get(key(1)) is None
    assert cache.get(key(9)) is not None


def test_clear_and_trim_leave_other_files_alone(tmp_path):
    cache = FeatureCache(tmp_path, max_bytes=1)
    (tmp_path / "ab").mkdir()
    others = [tmp_path / "notes.txt", tmp_path / "ab" / "model.safetensors", tmp_path / "ab" / "x.tmp"]
    for path in others:
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    cache.put(KEY, np.ones(3))
    assert len(cache) == 1
    cache.trim()
    assert len(cache) == 0
    cache.put(KEY, np.ones(3))
    cache.clear()
    assert len(cache) == 0
    assert all(path.exists() for path in others)


def test_clone_pickle_and_repr(tmp_path):
    cache = FeatureCache(tmp_path, max_bytes=100)
    assert pickle.loads(pickle.dumps(cache)) == cache
    assert clone(cache, safe=False) == cache
    assert hash(cache) == hash(FeatureCache(tmp_path, max_bytes=100))
    assert repr(cache) == f"FeatureCache(folder={tmp_path!r}, max_bytes=100)"
    assert bool(cache)


def test_the_parameter(tmp_path, monkeypatch):
    assert open_cache(None) is None
    assert open_cache(False) is None
    assert open_cache(tmp_path) == FeatureCache(tmp_path)
    own = FeatureCache(tmp_path)
    assert open_cache(own) is own
    assert open_cache(True).folder == Path(os.environ["GENDIFFCLF_CACHE"])
    assert open_cache(True).max_bytes == 10 * 2**30
    monkeypatch.delenv("GENDIFFCLF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "gendiffclf" / "features"
    with pytest.raises(ValueError, match="Got cache='', expected True, None, a folder or a FeatureCache"):
        open_cache("")
    with pytest.raises(ValueError, match="Got cache=3, expected True, None, a folder or a FeatureCache"):
        open_cache(3)
    with pytest.raises(TypeError, match="Got folder=3, expected a path"):
        FeatureCache(3)
    with pytest.raises(ValueError, match="Got max_bytes=0, expected an integer >= 1"):
        FeatureCache(tmp_path, max_bytes=0)


def test_a_move_refused_because_the_entry_is_there_is_no_error(tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path)
    cache.put(KEY, np.ones(3))

    def refuse(*_):
        raise PermissionError("in use")

    monkeypatch.setattr("gendiffclf.featurizers.cache.os.replace", refuse)
    cache.put(KEY, np.ones(3))
    assert len(cache) == 1
    with pytest.raises(PermissionError, match="in use"):
        cache.put("cd" * 20, np.ones(3))
    assert not list(tmp_path.rglob("*.tmp"))
