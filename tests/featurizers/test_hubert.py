"""What only the pretrained encoders have: layers, loaded models, several shapes."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from gendiffclf.featurizers import HubertFeaturizer
from gendiffclf.featurizers.padding import PADDABLE

from .conftest import RATE, random_model, tiny_config, tone

CLIPS = [(tone(0.3, 150 + 50 * i, seed=i), RATE) for i in range(3)]


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ("all", (3, 4, 32)),
        (-1, (3, 32)),
        (0, (3, 32)),
        (np.int64(2), (3, 32)),
        ([1], (3, 1, 32)),
        ([0, -1], (3, 2, 32)),
    ],
)
@pytest.mark.parametrize("pooling", ["mean", "mean_std"])
def test_shapes_and_names(checkpoint, layers, shape, pooling):
    featurizer = HubertFeaturizer(checkpoint, layers=layers, pooling=pooling, cache=None)
    found = featurizer.transform(CLIPS)
    assert found.shape == (*shape[:-1], shape[-1] * (2 if pooling == "mean_std" else 1))
    names = featurizer.get_feature_names_out()
    assert names.shape == (found[0].size,)
    assert len(set(names)) == len(names)


def test_names_say_layer_statistic_and_place(checkpoint):
    names = HubertFeaturizer(checkpoint, layers=[1, -1], pooling="mean_std").get_feature_names_out()
    assert [names[0], names[32], names[64], names[-1]] == [
        "layer1_mean_0",
        "layer1_std_0",
        "layer3_mean_0",
        "layer3_std_31",
    ]


def test_layers_do_not_fit_into_a_table(checkpoint, encoded):
    featurizer = HubertFeaturizer(checkpoint, cache=None).set_output(transform="pandas")
    with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\) with layers or frames"):
        featurizer.transform(CLIPS)
    assert encoded == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layers", 4, "Got layers=4, expected 'all', an index from -4 to 3, or a list of them"),
        ("layers", -5, "Got layers=-5, expected 'all'"),
        ("layers", [], r"Got layers=\[\], expected 'all'"),
        ("layers", [0, 9], r"Got layers=\[0, 9\], expected 'all'"),
        ("layers", "last", "Got layers='last', expected 'all'"),
        ("layers", True, "Got layers=True, expected 'all'"),
        ("layers", 1.0, "Got layers=1.0, expected 'all'"),
        ("max_seconds", 0, r"Got max_seconds=0, expected a number in \(0"),
        ("batch_seconds", "all", "Got batch_seconds='all', expected a number in"),
        ("device", "abacus", "Got device='abacus', expected 'auto', 'cpu'"),
        ("device", [], r"Got device=\[\], expected at least one device"),
        ("precision", "float16", "Got precision='float16', expected one of"),
        ("do_normalize", "yes", "Got do_normalize='yes', expected True, False or 'auto'"),
    ],
)
def test_bad_parameters(checkpoint, name, value, message):
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=message):
            getattr(HubertFeaturizer(checkpoint, **{name: value}), method)(CLIPS)


def test_a_loaded_model_and_its_folder_agree(tmp_path, encoded):
    model = random_model(tiny_config("hubert", "layer"))
    model.save_pretrained(tmp_path)
    loaded = HubertFeaturizer(model, do_normalize=True).transform(CLIPS)
    named = HubertFeaturizer(tmp_path, do_normalize=True, cache=None).transform(CLIPS)
    np.testing.assert_allclose(loaded, named, rtol=1e-5, atol=1e-6)
    encoded.clear()
    again = HubertFeaturizer(random_model(tiny_config("hubert", "layer")), do_normalize=True).transform(CLIPS)
    np.testing.assert_array_equal(again, loaded)
    assert encoded == []  # equal weights are the same encoder, whichever object holds them


@pytest.mark.parametrize("head", ["CTC", "AudioClassification"])
@pytest.mark.parametrize("model_type", PADDABLE)
def test_a_head_is_left_out(model_type, head, tmp_path):
    import transformers

    cls = getattr(transformers, f"AutoModelFor{head}")
    cls.from_config(tiny_config(model_type, "layer")).eval().save_pretrained(tmp_path)
    settings = {"do_normalize": True, "cache": None, "layers": [1, -1]}
    named = HubertFeaturizer(str(tmp_path), **settings)
    whole, alone = (HubertFeaturizer(c.from_pretrained(tmp_path), **settings) for c in (cls, transformers.AutoModel))
    np.testing.assert_allclose(whole.transform(CLIPS), named.transform(CLIPS), rtol=1e-5, atol=1e-6)
    assert whole._encoders()[0].checkpoint.fingerprint == alone._encoders()[0].checkpoint.fingerprint
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again.transform(CLIPS), named.transform(CLIPS))


def test_a_loaded_model_is_cloned_with_its_weights():
    featurizer = HubertFeaturizer(random_model(tiny_config("hubert", "layer")), do_normalize=True, cache=None)
    np.testing.assert_array_equal(clone(featurizer).transform(CLIPS), featurizer.transform(CLIPS))
    assert "HubertFeaturizer" in featurizer._repr_html_()


def test_a_copy_shares_a_loaded_model():
    featurizer = HubertFeaturizer(random_model(tiny_config("hubert", "layer")), do_normalize=True, cache=None)
    copied = copy.copy(featurizer).set_params(layers=[0])
    assert copied.model is featurizer.model
    assert (copied.layers, featurizer.layers) == ([0], "all")
    np.testing.assert_array_equal(copied.transform(CLIPS), featurizer.transform(CLIPS)[:, :1])


def test_a_loaded_model_is_pickled_by_name_and_its_weights_are_checked(checkpoint):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(checkpoint)
    featurizer = HubertFeaturizer(model, cache=None)
    content = pickle.dumps(featurizer)
    assert len(content) < 5000
    again = pickle.loads(content)
    assert again.model == checkpoint
    np.testing.assert_array_equal(again.transform(CLIPS), featurizer.transform(CLIPS))
    assert vars(again).keys() - {"failures_"} == again.get_params().keys()
    assert featurizer.model is model
    with torch.no_grad():
        model.encoder.layers[0].attention.q_proj.bias[0] += 1
    changed = pickle.loads(pickle.dumps(featurizer))
    with pytest.raises(ValueError, match="with weights that differ from those at pickling"):
        changed.transform(CLIPS)
    nameless = HubertFeaturizer(random_model(tiny_config("hubert", "layer")))
    with pytest.raises(
        TypeError, match=r"without the name or folder it was loaded from, expected one .*save_pretrained"
    ):
        pickle.dumps(nameless)


def test_missing_transformers_names_the_extra(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"'transformers', which is not installed: `pip install -e '.\[speech\]'`"):
        HubertFeaturizer(checkpoint).fit(CLIPS)
