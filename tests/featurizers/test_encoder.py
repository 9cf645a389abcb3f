"""Each clip gets what it would get alone: every architecture, pooling, length and precision."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gendiffclf.featurizers import HubertFeaturizer
from gendiffclf.featurizers.encoder import SpeechEncoder
from gendiffclf.featurizers.padding import PADDABLE, exact_padding, frame_count, receptive_field

from .conftest import NORMS, RATE, random_model, tiny_config, tone

LENGTHS = (16000, 9000, 400, 12345, 719, 3200, 9000)
ARCHITECTURES = [
    (model_type, norm) for model_type in PADDABLE for norm in NORMS if (model_type, norm) != ("data2vec-audio", "group")
]


def clips(lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return [(rng.normal(scale=0.1, size=n).astype(np.float32), RATE) for n in lengths]


def featurizer(model, **parameters):
    return HubertFeaturizer(
        model, **{"do_normalize": True, "cache": None, "device": "cpu", "batch_seconds": 20} | parameters
    )


def worst(found, expected):
    """Largest relative error over clips and layers."""
    error = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    return error.max()


@pytest.fixture
def before_forward(monkeypatch):
    """A function that sets what is called with the waves of each batch before they are encoded."""
    forward = SpeechEncoder._forward

    def change(function):
        def called(self, waves):
            function(waves)
            return forward(self, waves)

        monkeypatch.setattr(SpeechEncoder, "_forward", called)

    return change


@pytest.mark.parametrize(("model_type", "norm"), ARCHITECTURES)
def test_batches_give_what_the_bare_model_gives_one_clip(model_type, norm):
    model = random_model(tiny_config(model_type, norm))
    found = featurizer(model, batch_seconds=100).transform(clips())
    last = model.config.num_hidden_layers
    assert found.shape == (len(LENGTHS), last + 1, model.config.hidden_size)
    for row, (wave, _) in zip(found, clips(), strict=True):
        values = torch.tensor((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))[None]
        with torch.inference_mode():
            output = model(values, output_hidden_states=True)
        states = [*output.hidden_states[:last], output.last_hidden_state]
        assert worst(row, np.stack([state[0].mean(0).numpy() for state in states])) < 1e-5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pooling", ["mean", "std", "mean_std", "max"])
@pytest.mark.parametrize("batch_seconds", [0.3, 1.2, 100])
def test_features_do_not_depend_on_neighbours(norm, pooling, batch_seconds, checkpoints):
    alone = featurizer(checkpoints[norm], pooling=pooling, batch_seconds=0.001).transform(clips())
    together = featurizer(checkpoints[norm], pooling=pooling, batch_seconds=batch_seconds).transform(clips())
    order = np.random.default_rng(1).permutation(len(LENGTHS))
    shuffled = featurizer(checkpoints[norm], pooling=pooling, batch_seconds=batch_seconds)
    permuted = shuffled.transform([clips()[i] for i in order])
    # A single frame has no deviation to be relative to.
    frames = [0, 1, 3, 4, 5, 6] if pooling == "std" else range(len(LENGTHS))
    frames = [i for i in frames if LENGTHS[i] >= 720 or pooling != "std"]
    assert worst(together[frames], alone[frames]) < 1e-5
    back = permuted[np.argsort(order)]
    assert worst(back[frames], alone[frames]) < 1e-5


def test_batch_norm_before_the_positions_is_kept_free_of_padding():
    config = tiny_config("hubert", "layer")
    config.conv_pos_batch_norm = True
    model = random_model(config)
    with torch.no_grad():
        model.encoder.pos_conv_embed.batch_norm.running_mean += 0.5
    assert worst(featurizer(model).transform(clips()), featurizer(model, batch_seconds=0.001).transform(clips())) < 1e-5


def test_encoders_of_unknown_types_get_equal_lengths(monkeypatch, checkpoint, before_forward):
    monkeypatch.setattr("gendiffclf.featurizers.padding.PADDABLE", ())
    seen = []
    before_forward(lambda waves: seen.append([len(wave) for wave in waves]))
    alone = featurizer(checkpoint, batch_seconds=0.001).transform(clips())
    seen.clear()
    assert worst(featurizer(checkpoint).transform(clips()), alone) < 1e-5
    assert all(len(set(lengths)) == 1 for lengths in seen)
    assert [9000, 9000] in seen


def test_last_layer_is_the_final_normalised_state(checkpoint):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(checkpoint).eval()
    wave = clips()[0][0]
    with torch.inference_mode():
        state = model(torch.tensor((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))[None]).last_hidden_state
    for layers in (-1, 3, [3], [1, -1], "all"):
        found = featurizer(checkpoint, layers=layers).transform(clips()[:1])
        last = found[0] if np.ndim(found) == 2 else found[0, -1]
        np.testing.assert_allclose(last, state[0].mean(0), rtol=1e-4, atol=1e-5)


def test_the_last_of_the_hidden_states_does_not_matter(checkpoint, monkeypatch):
    """Release 5.16 of transformers changed whether it is normalised; a stand-in for either is not looked at."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(checkpoint).eval()
    expected = featurizer(model).transform(clips()[:2])
    forward = model.forward

    def changed(*arguments, **options):
        output = forward(*arguments, **options)
        output.hidden_states = (*output.hidden_states[:-1], torch.full_like(output.hidden_states[-1], torch.nan))
        return output

    monkeypatch.setattr(model, "forward", changed)
    np.testing.assert_array_equal(featurizer(model).transform(clips()[:2]), expected)


def test_choosing_layers_chooses_from_all(checkpoint):
    whole = featurizer(checkpoint).transform(clips())
    np.testing.assert_allclose(featurizer(checkpoint, layers=1).transform(clips()), whole[:, 1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        featurizer(checkpoint, layers=[2, 0]).transform(clips()), whole[:, [2, 0]], rtol=1e-5, atol=1e-6
    )


def test_normalisation_is_the_preprocessors(tmp_path):
    from transformers import AutoFeatureExtractor, AutoModel

    from .conftest import save_checkpoint

    for do_normalize in (True, False):
        folder = save_checkpoint(
            tmp_path / str(do_normalize), tiny_config("hubert", "layer"), do_normalize=do_normalize
        )
        wave = 0.1 + tone(0.4)
        values = AutoFeatureExtractor.from_pretrained(folder)(wave, sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            state = AutoModel.from_pretrained(folder).eval()(values.input_values).last_hidden_state[0].mean(0)
        auto = HubertFeaturizer(folder, layers=-1, cache=None).transform([(wave, RATE)])[0]
        np.testing.assert_allclose(auto, state, rtol=1e-4, atol=1e-5)
        other = HubertFeaturizer(folder, layers=-1, cache=None, do_normalize=not do_normalize).transform([(wave, RATE)])
        assert not np.allclose(auto, other[0], rtol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_clips_shorter_than_a_frame_are_padded_to_one(norm, checkpoints):
    short = (tone(0.01), RATE)
    alone = featurizer(checkpoints[norm]).transform([short])
    together = featurizer(checkpoints[norm]).transform([*clips(), short])
    assert np.isfinite(alone).all()
    assert worst(together[-1:], alone) < 1e-5
    assert np.isfinite(featurizer(checkpoints[norm]).transform([([0.5], RATE)])).all()


@pytest.mark.parametrize("norm", NORMS)
def test_silence_is_finite(norm, checkpoints):
    assert np.isfinite(featurizer(checkpoints[norm]).transform([(np.zeros(8000), RATE), *clips()])).all()


@pytest.mark.parametrize("pooling", ["mean", "mean_std", "max"])
def test_chunks_are_pooled_together(checkpoint, pooling):
    wave = clips([16000])[0][0]
    whole = featurizer(checkpoint, pooling=pooling).transform([(wave, RATE)])
    long = featurizer(checkpoint, pooling=pooling, max_seconds=1.0).transform([(wave, RATE)])
    np.testing.assert_allclose(long, whole, rtol=1e-5, atol=1e-6)  # nothing to cut
    chunked = featurizer(checkpoint, pooling=pooling, max_seconds=0.4).transform([(wave, RATE)])
    assert not np.allclose(chunked, whole, rtol=1e-3)
    beside = featurizer(checkpoint, pooling=pooling, max_seconds=0.4, batch_seconds=5).transform(
        [*clips(), (wave, RATE)]
    )
    assert worst(beside[-1:], chunked) < 1e-5
    if pooling == "mean":
        parts = np.array_split((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7), 3)
        rows = featurizer(checkpoint, do_normalize=False).transform([(part, RATE) for part in parts])
        weights = [frame_count(tiny_config("hubert", "layer"), len(part)) for part in parts]
        np.testing.assert_allclose(chunked[0], np.average(rows, axis=0, weights=weights), rtol=1e-4, atol=1e-5)


def test_chunks_are_never_shorter_than_a_frame(checkpoint):
    assert np.isfinite(featurizer(checkpoint, max_seconds=0.001).transform(clips([401, 799, 800]))).all()


def test_frames_of_the_published_encoders():
    config = tiny_config("hubert", "layer")
    assert receptive_field(config) == 400
    assert [frame_count(config, n) for n in (400, 719, 720, 16000)] == [1, 1, 2, 49]


def test_precisions(checkpoint):
    single = featurizer(checkpoint).transform(clips())
    double = featurizer(checkpoint, precision="float64").transform(clips())
    half = featurizer(checkpoint, precision="bfloat16").transform(clips())
    assert worst(double, single) < 1e-5
    assert 1e-5 < worst(half, single) < 5e-2
    assert single.dtype == double.dtype == half.dtype == np.float32


def test_a_batch_that_does_not_fit_is_halved(checkpoint, before_forward):
    expected = featurizer(checkpoint).transform(clips())
    sizes = []

    @before_forward
    def allocate(waves):
        if sum(map(len, waves)) > 20000:
            raise torch.OutOfMemoryError("out of memory")
        sizes.append(len(waves))

    assert worst(featurizer(checkpoint, batch_seconds=100).transform(clips()), expected) < 1e-5
    assert sum(sizes) == len(LENGTHS)


def test_a_clip_that_does_not_fit_even_alone_is_a_failure(checkpoint, before_forward):
    @before_forward
    def allocate(waves):
        if max(map(len, waves)) > 15000:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(ValueError, match=r"Got clip 0 .*1.0 s do not fit in the memory of cpu; set max_seconds=30"):
        featurizer(checkpoint).transform(clips())
    calm = featurizer(checkpoint, on_error="nan")
    found = calm.transform(clips())
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:]).all()
    assert [failure.index for failure in calm.failures_] == [0]
    assert np.isfinite(featurizer(checkpoint, max_seconds=0.5).transform(clips())).all()


@pytest.mark.parametrize("norm", NORMS)
def test_several_devices_share_the_work(norm, checkpoints, before_forward):
    import threading

    threads = set()
    expected = featurizer(checkpoints[norm]).transform(clips())
    before_forward(lambda waves: threads.add(threading.current_thread().name))
    found = featurizer(checkpoints[norm], device=["cpu", "cpu"], batch_seconds=1).transform(clips())
    assert worst(found, expected) < 1e-5
    assert threading.main_thread().name not in threads


def test_threads_that_share_a_model_take_turns():
    model = random_model(tiny_config("hubert", "group"))
    equal = clips([9000, 9000])
    expected = featurizer(model).transform(equal)
    with ThreadPoolExecutor(1) as pool:
        with exact_padding(model, torch.arange(9000) < torch.tensor([[400], [9000]])):
            waiting = pool.submit(featurizer(model).transform, equal)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert worst(waiting.result(), expected) < 1e-5


def test_a_loaded_model_is_left_as_it_was():
    model = random_model(tiny_config("hubert", "group")).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = featurizer(model).transform(clips())
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules() if module.__class__.__name__ == "GroupNorm")
    half = random_model(tiny_config("hubert", "group")).double()
    assert worst(featurizer(half).transform(clips()), expected) < 1e-5
    assert next(half.parameters()).dtype == torch.float64


def test_global_settings_come_back(checkpoint):
    from gendiffclf.featurizers.encoder import encoding_session

    def settings():
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision

    before = settings()
    with encoding_session({"cuda"}):
        assert settings() == ("ieee", "ieee")
    assert settings() == before
    state = torch.random.get_rng_state()
    featurizer(checkpoint).transform(clips())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()
