"""A function as an encoder: layers, tensors, names, and what it may do wrong."""

import numpy as np
import pytest
import soundfile
import torch

from gendiffclf.featurizers import AudioError, FunctionFeaturizer

from .conftest import RATE, tone


def make(encode, **parameters):
    return FunctionFeaturizer(encode, **{"name": "own-1", "sampling_rate": RATE, "cache": None} | parameters)


def test_the_function_gets_samples_at_its_own_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5), RATE)
    lengths = make(lambda samples: [len(samples)], sampling_rate=8000).transform([tmp_path / "a.wav"])
    assert lengths.tolist() == [[4000]]


def test_layers_and_tensors(clips):
    found = make(lambda samples: torch.ones(3, 5, requires_grad=True) * float(samples[0])).transform(clips)
    assert found.shape == (len(clips), 3, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0, 0], [wave[0] for wave, _ in clips])


def test_names_are_known_once_it_has_run(clips):
    featurizer = make(lambda samples: np.arange(3))
    with pytest.raises(ValueError, match="Got get_feature_names_out before transform"):
        featurizer.get_feature_names_out()
    featurizer.transform(clips)
    assert list(featurizer.get_feature_names_out()) == ["own-1_0", "own-1_1", "own-1_2"]


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda samples: 1 / 0, r"own-1 failed \(ZeroDivisionError: division by zero\)"),
        (lambda samples: [np.nan], "own-1 returned NaN or infinity"),
        (lambda samples: 3.0, r"own-1 returned features of shape \(\), expected \(d,\) or \(layers, d\)"),
        (lambda samples: [], r"own-1 returned features of shape \(0,\)"),
        (lambda samples: (_ for _ in ()).throw(torch.OutOfMemoryError("out")), "do not fit in memory"),
    ],
)
def test_what_goes_wrong_in_it_is_an_error_of_the_clip(encode, message, clips):
    with pytest.raises(AudioError, match=message):
        make(encode).transform(clips)
    patient = make(encode, on_error="nan")
    found = patient.transform(clips)
    assert found.shape == (len(clips), 1)
    assert np.isnan(found).all()
    assert len(patient.failures_) == len(clips)


def test_a_clip_that_fails_is_nan_of_the_others_shape(clips):
    def long_only(samples):
        if len(samples) < 4000:
            raise ValueError("too short")
        return np.ones(4)

    found = make(long_only, on_error="nan").transform(clips)
    assert found.shape == (len(clips), 4)
    assert np.isnan(found).any(axis=1).tolist() == [len(wave) < 4000 for wave, _ in clips]


def test_shapes_that_differ_are_refused(clips):
    with pytest.raises(ValueError, match=r"Got features of the shapes \[\(\d+,\), .*expected one shape for all clips"):
        make(lambda samples: samples[: len(samples) // 1000]).transform(clips)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encode": "wav2vec"}, "Got encode='wav2vec', expected a function"),
        ({"name": ""}, "Got name='', expected a string with the encoder"),
        ({"sampling_rate": None}, "Got sampling_rate=None, expected a number"),
    ],
)
def test_bad_parameters(parameters, message, clips):
    with pytest.raises(ValueError, match=message):
        make(np.sum).set_params(**parameters).transform(clips)
