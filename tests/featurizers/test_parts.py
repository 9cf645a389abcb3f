"""Many parts of one MP3 are decoded once, and give what each gives alone."""

from pathlib import Path

import numpy as np
import pytest

from gendiffclf import FbankFeaturizer
from gendiffclf.featurizers import audio, parts
from gendiffclf.featurizers.audio import Clip, native_blocks
from gendiffclf.speech.recordings import measure_recordings

soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that are opened, one for each time."""
    names = []
    for module in (audio, parts):
        monkeypatch.setattr(
            module, "open_audio", lambda source, real=audio.open_audio: names.append(str(source)) or real(source)
        )
    return names


@pytest.fixture
def long_mp3(tmp_path):
    path = str(tmp_path / "long.mp3")
    samples = np.random.default_rng(0).normal(0, 0.1, (10 * 22050, 2)).astype(np.float32)
    soundfile.write(path, samples, 22050)
    return path


def test_features_and_measures_of_parts_are_those_of_each_alone(long_mp3, tmp_path):
    other = str(tmp_path / "other.wav")
    soundfile.write(other, np.zeros(8000), 16000)
    segments = [(long_mp3, 0.5 * i, 0.5 * i + 0.5 + 0.1 * (i % 3)) for i in range(12)]
    clips = [*segments[:6], other, *segments[6:]]
    together = FbankFeaturizer().transform(clips)
    alone = np.concatenate([FbankFeaturizer().transform([clip]) for clip in clips])
    np.testing.assert_array_equal(together, alone)
    assert measure_recordings(clips) == [measure_recordings([clip])[0] for clip in clips]


@pytest.fixture
def decoded(monkeypatch):
    """Format and number of frames of each read."""
    reads = []
    real = soundfile.SoundFile.read

    def read(self, frames=-1, *args, **kwargs):
        found = real(self, frames, *args, **kwargs)
        reads.append((self.format, len(found)))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    return reads


def test_blocks_of_a_part_are_read_alone(tmp_path, decoded):
    path = str(tmp_path / "long.wav")
    soundfile.write(path, np.arange(80000) / 2**17, 1000, subtype="FLOAT")
    blocks = list(native_blocks(Clip(path, start=10.0, end=55.0)))
    assert sum(count for _, count in decoded) == 45000
    assert [len(block) for block, _ in blocks] == [20000, 20000, 5000]
    np.testing.assert_array_equal(np.concatenate([block[:, 0] for block, _ in blocks]), np.arange(10000, 55000) / 2**17)


def test_decoding_does_not_grow_with_the_square_of_the_parts(long_mp3, opened, decoded):
    FbankFeaturizer().transform([(long_mp3, 0.2 * i, 0.2 * i + 0.2) for i in range(40)])
    assert sum(count for form, count in decoded if form == "MP3") == 10 * 22050
    copies = {name for name in opened if name.endswith("decoded.w64")}
    assert len(copies) == 1
    assert not any(Path(name).exists() for name in copies)  # gone with the call


def test_measuring_does_not_grow_with_the_square_of_the_parts(long_mp3, decoded):
    clips = [(long_mp3, 0.2 * i, 0.2 * i + 0.2) for i in range(40)]
    measured = measure_recordings(clips)
    assert sum(count for form, count in decoded if form == "MP3") == 10 * 22050
    decoded.clear()
    assert measure_recordings(clips[:3]) == measured[:3]
    assert not decoded  # cached without the copy


def test_few_parts_and_other_formats_are_read_where_they_are(long_mp3, tmp_path):
    wav = str(tmp_path / "a.wav")
    soundfile.write(wav, np.zeros(16000), 16000)
    clips = {i: Clip(wav, start=0.1 * i, end=0.1 * i + 0.1) for i in range(8)}
    clips |= {10 + i: Clip(long_mp3, start=float(i)) for i in range(parts.MIN_SEGMENTS - 1)}
    groups = list(parts.group_by_file(clips))
    assert groups == [clips]


def test_an_mp3_that_breaks_off_gives_each_part_its_own_error(long_mp3, tmp_path):
    cut = tmp_path / "cut.mp3"
    content = Path(long_mp3).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    featurizer = FbankFeaturizer(on_error="nan")
    rows = featurizer.transform([(str(cut), float(i), i + 1.0) for i in range(9)])
    assert [failure.index for failure in featurizer.failures_] == np.flatnonzero(np.isnan(rows).any(axis=1)).tolist()
    assert not np.isnan(rows[0]).any()
    assert np.isnan(rows[8]).all()
    assert "truncated" in featurizer.failures_[-1].reason
    assert str(cut) in str(featurizer.failures_[-1])
