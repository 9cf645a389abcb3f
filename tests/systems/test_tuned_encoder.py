import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from gendiffclf import AudioError, EmoSphereRegressor, FbankFeaturizer, HubertFeaturizer, SelmClassifier
from gendiffclf.featurizers.audio import Clip
from gendiffclf.featurizers.padding import PADDABLE, pad
from gendiffclf.systems.frames import clip_waves, frame_featurizer
from gendiffclf.systems.steps import encode
from gendiffclf.systems.tuned_encoder import TunedEncoder

from .conftest import NAMES, RATE, tone
from .test_selm import SMALL as SELM

pytest.importorskip("accelerate")

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Folders of small encoders with random weights."""
    from transformers import AutoConfig, AutoModel

    folders = {}
    for kind in PADDABLE:
        folders[kind] = str(tmp_path_factory.mktemp(kind))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModel.from_config(AutoConfig.for_model(kind, **SMALL)).save_pretrained(folders[kind])
        preprocessor = {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "sampling_rate": RATE,
            "do_normalize": True,
        }
        with open(f"{folders[kind]}/preprocessor_config.json", "w") as file:
            json.dump(preprocessor, file)
    return folders


def fit(encoder, rated, **changes):
    clips, Y = rated
    settings = {
        "dimensions": NAMES,
        "value_range": (1, 5),
        "width": 8,
        "n_epochs": 2,
        "batch_size": 8,
        "cache": None,
        "device": "cpu",
        "precision": "float32",
        "random_state": 0,
    }
    return EmoSphereRegressor(encoder, **{**settings, **changes}).fit(clips, Y)


@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2"])
@pytest.mark.parametrize("tuned", [False, True])
def test_a_prediction_does_not_depend_on_the_clips_beside_it(kind, tuned, encoders, rated):
    clips = rated[0][:6]
    regressor = fit(encoders[kind], rated, tune_encoder=tuned)
    together = regressor.transform(clips)
    alone = np.concatenate([regressor.transform([clip]) for clip in clips])
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("tuned", [False, True])
def test_a_loaded_model_needs_no_folder(tuned, encoders, rated):
    model = frame_model(encoders["wavlm"])
    model.config._name_or_path = ""
    encoder = model if tuned else HubertFeaturizer(model, do_normalize=True, cache=None, device="cpu")
    loaded, named = (fit(x, rated, tune_encoder=tuned) for x in (encoder, encoders["wavlm"]))
    np.testing.assert_array_equal(loaded.predict(rated[0]), named.predict(rated[0]))


def test_selm_hears_through_a_speech_encoder(encoders, rated, tmp_path):
    clips, labels = rated[0][:8], ["low", "high"] * 4
    classifier = SelmClassifier(**{**SELM, "encoder": encoders["wavlm"], "layer": 1, "cache": None}).fit(clips, labels)
    together = classifier.predict_proba(clips)
    alone = np.concatenate([classifier.predict_proba([clip]) for clip in clips])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    classifier.save(tmp_path / "model")
    loaded = SelmClassifier.load(tmp_path / "model", device="cpu", cache=None)
    np.testing.assert_array_equal(loaded.predict_proba(clips), together)
    with pytest.raises(ValueError, match="whose layers differ from those in fit, expected the same"):
        loaded.set_params(layer=2).predict(clips)


@pytest.mark.parametrize("kind", PADDABLE)
def test_tuning_changes_the_transformer_and_not_the_convolutions(kind, encoders, rated):
    regressor = fit(encoders[kind], rated, tune_encoder=True, learning_rate=1e-3)
    before = frame_model(encoders[kind]).state_dict()
    after = regressor.network_.encoder.model.state_dict()
    for name, value in before.items():
        if name.startswith("feature_extractor."):
            assert torch.equal(after[name], value), name
    changed = [name for name, value in before.items() if not torch.equal(after[name], value)]
    assert any("encoder.layers.0" in name for name in changed)
    assert any("encoder.layers.1" in name for name in changed)


def frame_model(folder):
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder)


def test_one_mean_and_deviation_of_all_waveforms(encoders, rated):
    encoder = fit(encoders["wavlm"], rated, tune_encoder=True).network_.encoder
    samples = np.concatenate([wave for wave, _ in rated[0]])
    assert encoder.mean.item() == pytest.approx(samples.mean(), abs=1e-6)
    assert encoder.deviation.item() == pytest.approx(samples.std(), rel=1e-4)


def test_a_tuned_encoder_is_in_the_folder(encoders, rated, tmp_path):
    clips, _ = rated
    regressor = fit(encoders["wavlm"], rated, tune_encoder=True, learning_rate=1e-3)
    regressor.save(tmp_path / "model")
    loaded = EmoSphereRegressor.load(tmp_path / "model", encoder="/nowhere", device="cpu")
    np.testing.assert_array_equal(loaded.predict(clips), regressor.predict(clips))


def test_frozen_weights_that_changed_are_refused(encoders, rated):
    clips, _ = rated
    regressor = fit(encoders["wavlm"], rated)
    regressor.set_params(encoder=encoders["wav2vec2"])
    with pytest.raises(ValueError, match="whose weights differ from those in fit, expected the same"):
        regressor.predict(clips)


def test_tuning_resumes_from_checkpoints(encoders, rated, tmp_path):
    whole = fit(encoders["wavlm"], rated, tune_encoder=True, random_state=None, checkpoints=tmp_path)
    (training,) = tmp_path.iterdir()
    shutil.rmtree(training / "checkpoint-6")  # of the second and last epoch
    again = fit(encoders["wavlm"], rated, tune_encoder=True, random_state=None, checkpoints=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(again.network_.state_dict()[name], value), name


def test_frames_come_from_the_layer_asked_for(encoders):
    clip = (tone(0.3, 300, 0.5, 0), RATE)
    (first,) = frame_featurizer(encoders["wavlm"], layer=1, cache=None, device="cpu").transform([clip])
    every = HubertFeaturizer(encoders["wavlm"], pooling="none", cache=None, device="cpu").transform([clip])[0]
    np.testing.assert_array_equal(first, every[:, 1])
    mel = frame_featurizer(FbankFeaturizer(n_mels=12, deltas=1), layer=-1)
    assert mel.transform([clip])[0].shape[1] == 24


def test_waves_are_cut_and_short_ones_padded(tmp_path):
    soundfile.write(tmp_path / "long.wav", tone(0.5, 300, 0.5, 0), RATE)
    short = np.ones(100, np.float32)
    clips = [tmp_path / "long.wav", short, (tmp_path / "long.wav", 0.3, 0.35)]
    params = {"sampling_rate": RATE, "max_seconds": 0.1}
    waves = clip_waves(clips, params, RATE, min_samples=400)
    assert [len(wave) for wave in waves] == [1600, 400, 800]
    assert waves[1].sum() == 100
    with pytest.raises(AudioError, match=r"missing\.wav") as caught:
        clip_waves([short, tmp_path / "missing.wav"], params, RATE, min_samples=400)
    assert caught.value.index == 1


def test_clips_that_are_cut_are_cached(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", tone(0.5, 300, 0.5, 0), RATE)
    params = {"encoder": "fbank", "layer": -1, "cache": tmp_path / "cache", "sampling_rate": None, "max_seconds": 0.1}
    params |= {"device": "cpu", "verbose": 0}
    (first,), _ = encode(params, [tmp_path / "long.wav"])
    monkeypatch.setattr(Clip, "load", None)
    (again,), _ = encode(params, [tmp_path / "long.wav"])
    np.testing.assert_array_equal(first, again)
    assert len(first) == 8  # frames of 25 ms every 10 ms


def test_encoders_that_padding_would_reach_are_not_tuned(encoders):
    model = frame_model(encoders["wavlm"])
    model.config.model_type = "other"
    with pytest.raises(ValueError, match="Got an encoder of type 'other' to tune, expected one of hubert"):
        TunedEncoder(model, RATE)


def test_the_mask_of_frames_follows_that_of_samples(encoders):
    encoder = TunedEncoder(frame_model(encoders["wavlm"]), RATE).eval()
    long, short = (tone(seconds, 300, 0.5, 0) for seconds in (0.3, 0.1))
    with torch.inference_mode():
        states, mask = encoder(*pad([long, short]))
        alone, whole = encoder(*pad([short]))
    assert mask.sum(1).tolist() == [states.shape[1], alone.shape[1]]
    assert whole.all()
    torch.testing.assert_close(states[1, : alone.shape[1]], alone[0], atol=1e-5, rtol=0)
