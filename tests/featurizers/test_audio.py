"""Every kind of input gives the same samples; every broken one says what is wrong."""

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import soundfile
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gendiffclf.featurizers.audio import AudioError
from gendiffclf.featurizers.inputs import as_clip, as_items

RATE = 16000
X = (0.3 * np.sin(np.arange(4000) * 0.05)).astype(np.float32)


def load(item, sampling_rate=None):
    return as_clip(item, sampling_rate).load(RATE)


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, X, RATE, subtype="FLOAT")
    return path


def test_every_kind_of_input_gives_the_same_samples(wav):
    decoder = SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=torch.tensor(X)[None], sample_rate=RATE))
    kinds = [
        str(wav),
        wav,
        wav.read_bytes(),
        (X, RATE),
        (X, np.int64(RATE)),
        (X.tolist(), RATE),
        (torch.tensor(X), torch.tensor(RATE)),
        {"array": X, "sampling_rate": RATE},
        {"path": str(wav), "bytes": None},
        {"path": None, "bytes": wav.read_bytes()},
        (wav, 0, None),
        (str(wav), 0.0, float("nan")),
        [str(wav), 0.0, pd.NA],
        decoder,
    ]
    for item in kinds:
        np.testing.assert_array_equal(load(item), X)
    for item in (X, X.tolist(), torch.tensor(X), X.astype(np.float64)):
        np.testing.assert_array_equal(load(item, RATE), X)


@pytest.mark.parametrize(("suffix", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05), ("mp3", 0.05)])
def test_formats(tmp_path, suffix, tolerance):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, X, RATE)
    assert np.abs(load(path) - X).max() < tolerance


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_a_segment_is_the_same_part_of_the_whole(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, X, RATE)
    np.testing.assert_allclose(load((path, 0.05, 0.15)), load(path)[800:2400], atol=1e-6)
    assert as_clip((path, 0.05, 0.15), None).seconds() == pytest.approx(0.1)


def test_the_end_of_a_segment_may_be_rounded_up_but_not_made_up(wav):
    assert len(load((wav, 0.2, 0.28))) == 800
    with pytest.raises(AudioError, match=r"from 0.2 s to 0.9 s is outside the 0.25 s"):
        load((wav, 0.2, 0.9))
    with pytest.raises(AudioError, match=r"from 3 s to the end is outside"):
        load((wav, 3, None))


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ((0.2, 0.1), "start=0.2 s and end=0.1 s, expected start < end"),
        ((-1, 0.1), "start is -1, expected seconds"),
    ],
)
def test_bad_segments(wav, segment, message):
    with pytest.raises(AudioError, match=message):
        load((wav, *segment))


def test_channels_are_averaged_whichever_axis_they_are_on(tmp_path):
    stereo = np.stack([X, -X / 2])  # (channels, samples)
    for item in ((stereo, RATE), (stereo.T, RATE), (torch.tensor(stereo), RATE)):
        np.testing.assert_allclose(load(item), X / 4, atol=1e-7)
    soundfile.write(tmp_path / "s.wav", stereo.T, RATE, subtype="FLOAT")
    np.testing.assert_allclose(load(tmp_path / "s.wav"), X / 4, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8])
def test_integers_are_scaled_by_their_range(dtype):
    info = np.iinfo(dtype)
    ends = load((np.array([info.min, info.max], dtype=dtype), RATE))
    assert ends[0] == -1
    assert 0.99 <= ends[1] <= 1
    middle = 128 if dtype == np.uint8 else 0
    assert load((np.array([middle], dtype=dtype), RATE))[0] == 0


@pytest.mark.parametrize("dtype", [np.int64, bool, np.complex64, str])
def test_other_samples_are_refused(dtype):
    with pytest.raises(AudioError, match=r"samples are .*, expected"):
        load((np.ones(3).astype(dtype), RATE))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_known_tones(rate):
    time = np.arange(rate) / rate
    wave = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    found = load((wave, rate))
    np.testing.assert_array_equal(found, soxr.resample(wave, rate, RATE))
    assert len(found) == RATE
    expected = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert np.abs(found - expected)[500:-500].max() < 1e-3


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    wave = np.sin(2 * np.pi * 15000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.abs(load((wave, 48000)))[500:-500].max() < 1e-3


def test_segments_are_in_seconds_of_any_rate(tmp_path):
    wave = np.sin(np.arange(48000) * 0.01).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 48000, subtype="FLOAT")
    np.testing.assert_array_equal(load((tmp_path / "a.wav", 0.5, 0.75)), soxr.resample(wave[24000:36000], 48000, RATE))


def test_every_broken_input_says_what_is_wrong(broken):
    for item, message in broken.values():
        with pytest.raises(AudioError, match=message):
            load(item)


def test_a_file_named_bytes_changes_nothing(wav, tmp_path, monkeypatch):
    (tmp_path / "bytes").touch()
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(load(wav.read_bytes()), X)


def test_streamed_wav_without_a_length_is_no_error(wav):
    content = bytearray(wav.read_bytes())
    place = content.index(b"data")
    content[place + 4 : place + 8] = b"\xff\xff\xff\xff"
    np.testing.assert_array_equal(load(bytes(content)), X)


@pytest.mark.parametrize("declared", [0, 2**35], ids=["unknown", "damaged"])
def test_flac_with_a_wrong_length_in_its_header(tmp_path, declared):
    path = tmp_path / "a.flac"
    soundfile.write(path, X, RATE)
    expected, content = load(path), bytearray(path.read_bytes())
    start = 8 + 13  # in the first block of metadata, the last 36 bits before the checksum of the samples
    content[start] = content[start] & 0xF0 | declared >> 32
    content[start + 1 : start + 5] = (declared & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    if declared:
        with pytest.raises(AudioError, match=r"a\.flac\): it is truncated: 0% of the samples declared"):
            load(path)
        return
    np.testing.assert_array_equal(load(path), expected)
    np.testing.assert_array_equal(load((path, 0.05, 0.15)), expected[800:2400])
    with pytest.raises(AudioError, match="it is truncated"):
        load((path, 0.05, 9))


def test_decoder_that_fails():
    def fail():
        raise RuntimeError("no stream")

    with pytest.raises(AudioError, match=r"its decoder failed \(no stream\)"):
        load(SimpleNamespace(get_all_samples=fail))


def test_bare_arrays_need_a_rate():
    with pytest.raises(ValueError, match=r"bare array and sampling_rate=None.*set sampling_rate") as caught:
        as_clip(X, None)
    assert not isinstance(caught.value, AudioError)  # no on_error swallows it


def test_inputs_are_not_changed():
    stereo = np.stack([X, X])
    before = stereo.copy()
    load((stereo, 48000))
    np.testing.assert_array_equal(stereo, before)


@pytest.mark.parametrize(
    "table",
    [
        ["a", "b"],
        ("a", "b"),
        np.array(["a", "b"]),
        np.array([["a"], ["b"]], dtype=object),
        pd.Series(["a", "b"], index=[7, 3]),
        pd.DataFrame({"file": ["a", "b"]}, index=[7, 3]),
        pl.Series(["a", "b"]),
        pl.DataFrame({"file": ["a", "b"]}),
        iter(["a", "b"]),
    ],
    ids=lambda t: type(t).__name__,
)
def test_collections(table):
    assert [str(item) for item in as_items(table)] == ["a", "b"]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_tables_of_segments(make):
    table = make({"start": [0.0, 1.0], "path": ["a", "b"], "end": [1.0, None]})
    clips = [as_clip(item, None) for item in as_items(table)]
    assert [(clip.source, clip.start, clip.end) for clip in clips] == [("a", 0.0, 1.0), ("b", 1.0, None)]


def test_rows_of_numbers_are_clips():
    for rows in (np.ones((3, 5)), torch.ones(3, 5)):
        assert [load(row, RATE).shape for row in as_items(rows)] == [(5,)] * 3


@pytest.mark.parametrize(
    "one",
    [
        *("a.wav", Path("a.wav"), b"RIFF", {"path": "a.wav"}, 3, None),
        *((np.ones(4000), RATE), ("a.wav", 0.5, 1.5), ("a.wav", 1, None), [0.5] * 4000),
    ],
)
def test_one_clip_is_no_collection(one):
    with pytest.raises(ValueError, match=r"expected a list of clips; pass a single clip as \[clip\]"):
        as_items(one)


def test_samples_of_one_clip_are_no_collection():
    with pytest.raises(ValueError, match=r"Got X of shape \(4000,\), which is a single clip"):
        as_items(X)
    with pytest.raises(ValueError, match=r"columns \['a', 'b'\], expected one column"):
        as_items(pd.DataFrame({"a": [1], "b": [2]}))


def test_audio_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(AudioError("it is broken", "a.wav", 3)))
    assert str(error) == "Got clip 3 (a.wav): it is broken."
    assert (error.reason, error.source, error.index) == ("it is broken", "a.wav", 3)


def test_missing_package_names_the_extra(wav, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match=r"'soundfile', which is not installed: `pip install -e '.\[speech\]'`"):
        load(wav)


@given(
    samples=hnp.arrays(np.float32, st.integers(20, 300), elements=st.floats(-1, 1, width=32)),
    rate=st.sampled_from([8000, 11025, 16000, 44100]),
)
def test_any_finite_samples_give_finite_ones(samples, rate):
    found = load((samples, rate))
    assert found.dtype == np.float32
    assert len(found) == pytest.approx(len(samples) * RATE / rate, abs=1)
    assert np.isfinite(found).all()


def test_a_sample_or_two_may_be_none_at_a_lower_rate():
    with pytest.raises(AudioError, match="holds no samples"):
        load((X[:1], 48000))


@given(first=st.binary(max_size=60))
def test_bytes_that_are_no_audio_raise_one_kind_of_error(first):
    with pytest.raises(AudioError):
        load(first)


def test_digest_tells_contents_apart(wav, tmp_path):
    def digest(item, rate=None):
        return as_clip(item, rate).digest({})

    copy = tmp_path / "copy.wav"
    copy.write_bytes(wav.read_bytes())
    assert digest(wav) == digest(str(copy)) == digest(wav.read_bytes())
    different = [
        digest(wav),
        digest((wav, 0.0, 0.1)),
        digest((wav, 0.1, 0.2)),
        digest((X, RATE)),
        digest((X, 8000)),
        digest((X.astype(np.float64), RATE)),
        digest((np.stack([X, X]), RATE)),
        digest((X * 0.5, RATE)),
    ]
    assert len(set(different)) == len(different)
    assert digest(X, RATE) == digest((X, RATE)) == digest({"array": X, "sampling_rate": RATE})
    with pytest.raises(AudioError, match="no such file"):
        digest(tmp_path / "missing.wav")
