"""Files that were cut short are found in every format whose header tells."""

import io
import re

import numpy as np
import pytest
import soundfile

from gendiffclf.featurizers.audio import AudioError, native_blocks
from gendiffclf.featurizers.headers import declared_share, mp3_samples, ogg_samples
from gendiffclf.featurizers.inputs import as_clip

RATE = 16000
WAVE = (0.3 * np.sin(np.arange(3 * RATE) * 0.05) + 0.01 * np.random.default_rng(0).normal(size=3 * RATE)).astype("f")
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
]
OGG = [("OGG", "VORBIS"), ("OGG", "OPUS")]


def content(form, subtype, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, WAVE, rate, format=form, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_atomic_files_are_whole(form, subtype):
    whole = content(form, subtype)
    assert declared_share(whole) == 1
    assert len(as_clip(whole, None).load(RATE)) == len(WAVE)


@pytest.mark.parametrize("share", [0.9, 0.5])
@pytest.mark.parametrize(("form", "subtype"), [*FORMATS, *OGG])
def test_truncated_files_are_found(form, subtype, share, tmp_path):
    whole = content(form, subtype)
    path = tmp_path / "a"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(AudioError, match=r"it is truncated|decoding failed|cannot be read"):
        as_clip(path, None).load(RATE)
    if form != "OGG":
        assert declared_share(path) == pytest.approx(share, abs=0.01)


def pages(whole):
    """Places of the pages of an Ogg file: two of headers, and then audio."""
    return [found.start() for found in re.finditer(b"OggS\0", whole)]


@pytest.mark.parametrize("rate", [8000, 12000, 16000])
@pytest.mark.parametrize(("form", "subtype"), OGG)
@pytest.mark.parametrize("page", [2, -1])
def test_damage_at_either_end_of_an_ogg_file_is_found(page, form, subtype, rate):
    whole = content(form, subtype, rate)
    assert ogg_samples(whole) == 0
    assert len(as_clip(whole, None).load(rate)) == len(WAVE)
    place = pages(whole)[page] + 300
    damaged = whole[:place] + bytes(100) + whole[place + 100 :]
    share = soundfile.info(io.BytesIO(damaged)).frames / len(WAVE)
    assert share < 0.98
    with pytest.raises(AudioError, match="it is truncated: ") as raised:
        as_clip(damaged, None).load(rate)
    assert float(re.search(r"(\d+)%", str(raised.value))[1]) / 100 == pytest.approx(share, abs=0.011)


@pytest.mark.parametrize(("form", "subtype"), OGG)
def test_ogg_streams_may_start_later_be_joined_or_have_more_behind(form, subtype):
    whole = content(form, subtype)
    places = pages(whole)
    later = whole[: places[2]] + whole[places[3] :]
    assert 0.5 * RATE < len(as_clip(later, None).load(RATE)) < len(WAVE) - 0.5 * RATE
    for more in (whole, b"TAG" + bytes(125), bytes(200_000)):
        assert len(as_clip(whole + more, None).load(RATE)) == len(WAVE)


@pytest.mark.parametrize("form", ["AU", "AIFF"])
def test_streamed_files_promise_nothing(form):
    whole = bytearray(content(form, "PCM_16"))
    place = 8 if form == "AU" else whole.index(b"SSND") + 4
    whole[place : place + 4] = b"\xff\xff\xff\xff"
    assert declared_share(bytes(whole)) is None


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("seconds", [0.1, 3])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x01\0" + b"\xff\xfb\x90\0" * 32])
def test_samples_of_mp3_are_counted(rate, seconds, tag):
    file = io.BytesIO()
    soundfile.write(file, WAVE[: round(seconds * RATE)], rate, format="MP3")
    whole = tag + file.getvalue()
    held, frame = mp3_samples(whole)
    assert frame == (1152 if rate == 44100 else 576)
    assert 0 <= held - round(seconds * RATE) <= 4 * frame
    assert len(as_clip(whole, None).load(rate)) == round(seconds * RATE)


def test_mp3_longer_than_its_header_says_is_an_error():
    whole = content("MP3", "MPEG_LAYER_III")
    with pytest.raises(
        AudioError, match=r"it is an MP3 of about 6.3 s with a length of 3.0 s in its header, .*; convert it"
    ):
        as_clip(whole * 2, None).load(RATE)
    with pytest.raises(AudioError, match="its end would be lost"):
        list(native_blocks(as_clip(whole * 2, None)))
    assert mp3_samples(b"") == mp3_samples(b"ID3") == mp3_samples(b"\xff" * 99) == (0, 0)


def test_other_files_promise_nothing():
    assert declared_share(content("FLAC", "PCM_16")) is None
    assert ogg_samples(b"") == ogg_samples(b"OggS\0" * 30) == 0
    for start in (b"", b"RIFF", b"FORM0000AIFF", b"OggS", b"riff" + b"\0" * 100, b"RIFF0000WAVEfmt "):
        assert declared_share(start) is None
