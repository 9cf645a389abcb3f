"""What the systems share: frames given by the caller, folders after parameters changed, and batches."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline

from gendiffclf import EmoSphereRegressor, FbankFeaturizer, SelmClassifier
from gendiffclf.featurizers import FunctionFeaturizer
from gendiffclf.systems.frames import frame_featurizer, given_frames
from gendiffclf.systems.steps import MAX_BATCH, checkpoint_folder, map_padded, training_arguments

from .test_selm import SMALL

pytest.importorskip("accelerate")

FRAMES = FbankFeaturizer(n_mels=8, pooling="none")


def test_frames_may_be_given_behind_a_featurizer(small, rated):
    clips, Y = rated
    direct = small().fit(clips, Y)
    behind = make_pipeline(FRAMES, small(encoder=None)).fit(clips, Y)
    np.testing.assert_array_equal(behind.predict(clips), direct.predict(clips))
    labels = np.where(Y[:, 0] > 3, "loud", "quiet")
    selm = make_pipeline(FRAMES, SelmClassifier(**{**SMALL, "encoder": None})).fit(clips, labels)
    np.testing.assert_array_equal(
        selm.predict_proba(clips), SelmClassifier(**SMALL).fit(clips, labels).predict_proba(clips)
    )


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([np.ones(4)], r"Got X\[0\] of shape \(4,\) with encoder=None, expected frames of shape \(n_frames, d\)"),
        (
            [np.ones((2, 3)), np.ones((2, 4))],
            r"Got X\[1\] of shape \(2, 4\) .* expected frames of shape \(n_frames, 3\)",
        ),
        ([np.full((2, 3), np.nan)], r"Got X\[0\] with NaN or infinity, expected finite frames"),
        (["clip.wav"], r"Got X\[0\] of shape \(\) with encoder=None"),
    ],
)
def test_what_are_no_frames_is_refused(items, message):
    with pytest.raises(ValueError, match=message):
        given_frames(items)


def test_frames_of_another_size_are_refused(small, rated):
    clips, Y = rated
    fitted = small(encoder=None).fit(FRAMES.transform(clips), Y)
    with pytest.raises(ValueError, match="whose n_features differ from those in fit"):
        fitted.predict([np.ones((3, 5))])


def test_a_featurizer_gives_frames_and_raises_for_broken_clips(rated, tmp_path):
    own = FbankFeaturizer(n_mels=8, on_error="nan")
    assert frame_featurizer(own, layer=-1).on_error == "raise"
    assert own.on_error == "nan"
    with pytest.raises(ValueError, match="which has no frames, expected a featuriser with the parameter pooling"):
        frame_featurizer(FunctionFeaturizer(np.mean, "mean", 16000), layer=-1)


def test_a_folder_holds_the_network_whatever_parameters_were_set_since(small, rated, tmp_path):
    clips, Y = rated
    fitted = small().fit(clips, Y)
    before = fitted.predict(clips)
    fitted.set_params(width=32, pooling="mean", n_regions=None).save(tmp_path / "model")
    loaded = EmoSphereRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(clips), before)
    assert loaded.predict_region(clips).shape == (24,)  # the network still has regions
    without = small(n_regions=None).fit(clips, Y).set_params(n_regions=8)
    assert not hasattr(without, "predict_region")


def test_weights_of_another_model_are_refused(small, rated, tmp_path):
    clips, Y = rated
    small().fit(clips, Y).save(tmp_path / "one")
    small(width=8).fit(clips, Y).save(tmp_path / "other")
    (tmp_path / "other" / "weights.safetensors").replace(tmp_path / "one" / "weights.safetensors")
    with pytest.raises(ValueError, match="with weights that do not fit its description, expected those"):
        EmoSphereRegressor.load(tmp_path / "one")
    selm = SelmClassifier(**SMALL).fit(clips, np.where(Y[:, 0] > 3, "loud", "quiet"))
    selm.save(tmp_path / "selm")
    (tmp_path / "one" / "weights.safetensors").replace(tmp_path / "selm" / "weights.safetensors")
    with pytest.raises(ValueError, match="with weights that do not fit its description, expected those"):
        SelmClassifier.load(tmp_path / "selm")


@pytest.mark.parametrize(
    ("given", "n_examples", "expected"),
    [(3, 8, 3), ("auto", 7, 1000), ("auto", 8, 500), ("auto", 87, 48), ("auto", 10**6, 20)],
)
def test_few_clips_are_seen_more_often(given, n_examples, expected, monkeypatch):
    params = EmoSphereRegressor(n_epochs=given, batch_size=2, accumulation_steps=2).get_params()

    def n_epochs(n_examples, **changes):
        return training_arguments({**params, **changes}, n_examples, (20, 1000))["num_train_epochs"]

    assert n_epochs(n_examples) == expected
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert n_epochs(n_examples) == expected  # a group that this fit takes no part in
    assert n_epochs(2 * n_examples, distributed=True) == expected


def test_fits_to_other_data_or_with_other_parameters_have_other_checkpoints(tmp_path):
    params = {"width": 8, "pooling": None, "distributed": False, "checkpoints": tmp_path}
    reordered = dict(reversed(params.items()))
    arrays = [np.arange(3.0), np.arange(4.0)]

    def folder(arrays=arrays, params=params, identity="a", seed=0):
        return checkpoint_folder(params, {"weights": identity}, [{"inputs": array} for array in arrays], seed)

    one = folder()
    assert one.parent == tmp_path
    assert one == folder([array.copy() for array in arrays], reordered)
    others = [
        folder(arrays[::-1]),
        folder([np.arange(7.0)]),
        folder([array.astype(np.float32) for array in arrays]),
        folder(params={**params, "width": 9}),
        folder(params={**params, "pooling": "None"}),
        folder(identity="b"),
        folder(seed=1),
    ]
    assert len({one, *others}) == 8
    assert one == folder(params={**params, "verbose": 1})


def test_groups_of_other_sizes_have_other_checkpoints(monkeypatch, tmp_path):
    params = {"checkpoints": tmp_path, "width": 8, "distributed": True}
    monkeypatch.setenv("WORLD_SIZE", "2")
    two = checkpoint_folder(params, {}, [], 0)
    assert checkpoint_folder(params, {}, [], 0) == two
    assert checkpoint_folder({**params, "distributed": False}, {}, [], 0) != two
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert checkpoint_folder(params, {}, [], 0) != two


def test_batches_are_bounded_and_keep_the_order():
    inputs = [np.full((n, 2), n, np.float32) for n in (3, 1, 7, 2, 7)]
    sizes = []

    def sums(padded, mask):
        sizes.append(mask.numel())
        return (padded * mask[..., None]).sum((1, 2)).tolist()

    assert map_padded(sums, inputs, 14, torch.device("cpu")) == [18, 2, 98, 8, 98]
    assert max(sizes) <= 14
    counts = []
    map_padded(lambda x, mask: counts.append(len(x)) or [0] * len(x), inputs[1:2] * 100, 10**6, torch.device("cpu"))
    assert counts == [MAX_BATCH, 100 - MAX_BATCH]
