"""Every featuriser keeps the order of clips, accepts them in any form, and reports broken ones."""

import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from gendiffclf.featurizers import AudioError, FunctionFeaturizer

from .conftest import RATE

ON_ERROR = ("raise", "nan", "skip_with_warning")


def test_order_is_kept(make, clips):
    featurizer = make()
    together = featurizer.transform(clips)
    assert together.dtype == np.float32
    assert together.ndim == 2
    alone = np.concatenate([featurizer.transform([clip]) for clip in clips])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(featurizer.transform(clips[::-1]), together[::-1], rtol=1e-4, atol=1e-5)


def test_kinds_of_input_agree(make, clips, files):
    featurizer = make(sampling_rate=RATE)
    expected = featurizer.transform(clips)
    tables = [files, np.array(files), pd.Series(files), pd.DataFrame({"path": files}), [wave for wave, _ in clips]]
    for X in tables:
        np.testing.assert_array_equal(featurizer.transform(X), expected)


@pytest.mark.parametrize("n_jobs", [1, 3, -1])
def test_threads_change_nothing(make, files, n_jobs):
    np.testing.assert_array_equal(make(n_jobs=n_jobs).transform(files), make().transform(files))


def test_a_broken_clip_is_an_error(make, clips, broken):
    featurizer = make()
    for item, message in broken.values():
        with pytest.raises(AudioError, match=rf"Got clip 1 .*({message})"):
            featurizer.transform([clips[0], item, clips[1]])


@pytest.mark.parametrize("on_error", ["nan", "skip_with_warning"])
def test_rows_of_broken_clips_are_nan(make, clips, broken, on_error):
    featurizer = make(on_error=on_error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = featurizer.transform([*clips[:2], *(item for item, _ in broken.values()), *clips[2:]])
    rows = range(2, 2 + len(broken))
    assert np.isnan(found[rows]).all()
    np.testing.assert_allclose(np.delete(found, rows, axis=0), make().transform(clips), rtol=1e-4, atol=1e-5)
    assert [failure.index for failure in featurizer.failures_] == [*rows]
    for failure, (_, message) in zip(featurizer.failures_, broken.values(), strict=True):
        assert failure.source
        assert re.search(message, failure.reason)
    told = [str(warning.message) for warning in caught if "Skipped" in str(warning.message)]
    assert len(told) == (on_error == "skip_with_warning")
    if told:
        skipped = (
            f"Skipped {len(broken)} of {len(found)} clips; their rows are NaN and failures_ lists them. Got clip 2"
        )
        assert skipped in told[0]


def test_many_broken_clips_make_one_warning_of_bounded_length(make):
    with pytest.warns(UserWarning, match="Skipped 9 of 9 clips.*And 4 more") as caught:
        make(on_error="skip_with_warning").transform([f"missing{i}.wav" for i in range(9)])
    assert len(caught) == 1


def test_failures_are_those_of_the_latest_call(make, clips):
    featurizer = make(on_error="nan")
    featurizer.transform(["missing.wav"])
    assert len(featurizer.failures_) == 1
    featurizer.transform(clips)
    assert featurizer.failures_ == []


@pytest.mark.parametrize("on_error", ON_ERROR)
def test_arrays_of_unknown_rate_are_an_error_whatever_on_error_says(make, clips, on_error):
    if isinstance(make(), FunctionFeaturizer):
        pytest.skip("its sampling_rate is that of bare arrays too")
    with pytest.raises(ValueError, match="bare array and sampling_rate=None"):
        make(on_error=on_error).transform([clips[0][0]])


def test_no_clips(make):
    with pytest.raises(ValueError, match="Got X with 0 clips, expected at least 1"):
        make().transform([])


def test_progress_can_be_switched_on(make, clips, capsys):
    make().transform(clips)
    assert capsys.readouterr().err == ""
    make(verbose=1).transform(clips)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "clip" in shown


def test_import_is_light():
    heavy = "'torch', 'transformers', 'soundfile', 'soxr'"
    program = f"import sys, gendiffclf.featurizers; sys.exit([m for m in ({heavy}) if m in sys.modules] != [])"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
