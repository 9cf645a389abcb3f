"""Training, the folder of a model, and predictions."""

import json

import numpy as np
import pandas as pd
import pytest
from featurizers.conftest import save_checkpoint, tiny_config
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier, HubertFeaturizer
from gendiffclf.speech import load_model, predict_clips, save_model, train
from gendiffclf.speech.prediction import write_predictions

from .conftest import QUICK


def test_a_trained_model_comes_back_the_same(vowels, pipeline, tmp_path):
    fitted = train(pipeline.set_params(fbankfeaturizer__deltas=1), vowels)
    assert not hasattr(pipeline[-1], "classes_")
    save_model(fitted, tmp_path / "new" / "model", about={"n_clips": 18})
    assert sorted(path.name for path in (tmp_path / "new").rglob("*")) == [
        "classifier.safetensors",
        "model",
        "model.json",
    ]
    loaded = load_model(tmp_path / "new" / "model", cache=None, on_error="nan")
    assert loaded[0].get_params() == {**fitted[0].get_params(), "on_error": "nan"}
    pd.testing.assert_frame_equal(predict_clips(fitted, vowels), predict_clips(loaded, vowels))
    np.testing.assert_array_equal(fitted.predict(vowels["path"]), loaded.predict(vowels["path"]))
    description = json.loads((tmp_path / "new" / "model" / "model.json").read_text())
    assert description["about"] == {"n_clips": 18}
    assert description["classes"] == ["heed", "hod", "who'd"]


def test_broken_clips_are_left_out_of_training(vowels, pipeline, broken):
    vowels.loc[3, "path"] = broken
    with pytest.warns(UserWarning, match="Got 1 of 18 clips that are broken"):
        fitted = train(pipeline, vowels)
    assert [failure.index for failure in fitted[0].failures_] == [3]
    assert fitted[0].on_error == "raise"


def test_predictions_have_a_row_for_every_clip(vowels, pipeline, broken, tmp_path):
    fitted = train(pipeline, vowels)
    asked = pd.DataFrame({"path": [broken, *vowels["path"][:2]], "start": [None, None, 0.05], "end": [None, None, 0.2]})
    found = predict_clips(fitted, asked)
    assert found["error"].notna().tolist() == [True, False, False]
    assert found["predicted"].isna().tolist() == [True, False, False]
    proba = found[["p_heed", "p_hod", "p_who'd"]]
    assert np.isnan(proba.iloc[0]).all()
    np.testing.assert_allclose(proba.iloc[1:].sum(axis=1), 1)
    write_predictions(found, tmp_path / "out" / "found.csv")
    assert pd.read_csv(tmp_path / "out" / "found.csv").columns.tolist() == found.columns.tolist()
    write_predictions(found, tmp_path / "found.jsonl", "jsonl")
    first, second, _ = map(json.loads, (tmp_path / "found.jsonl").read_text().splitlines())
    assert first["probabilities"] is None
    assert first["predicted"] is None
    assert "cannot be read as audio" in first["error"]
    assert second["probabilities"] == pytest.approx(dict(zip(["heed", "hod", "who'd"], proba.iloc[1], strict=True)))
    assert second["error"] is None
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_nothing_but_broken_clips(vowels, pipeline, broken):
    found = predict_clips(train(pipeline, vowels), pd.DataFrame({"path": [broken]}))
    assert found["error"].notna().all()


def test_a_folder_is_replaced_only_when_asked(vowels, pipeline, tmp_path):
    fitted = train(pipeline, vowels)
    save_model(fitted, tmp_path / "model")
    with pytest.raises(ValueError, match="which exists, expected a new folder; overwrite=True"):
        save_model(fitted, tmp_path / "model")
    save_model(fitted, tmp_path / "model", overwrite=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="or one of a model"):
        save_model(fitted, tmp_path / "other", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["model", "other"]


def test_an_encoder_is_recorded_with_what_identifies_its_weights(vowels, tmp_path):
    for seed in (0, 1):
        save_checkpoint(tmp_path / f"encoder{seed}", tiny_config("hubert", "layer"), seed=seed)
    here = tmp_path / "encoder0"
    featurizer = HubertFeaturizer(here, layers=[1, -1], device="cpu")
    fitted = train(make_pipeline(featurizer, GenerativeTransportClassifier(**QUICK)), vowels)
    save_model(fitted, tmp_path / "model")
    loaded = load_model(tmp_path / "model", device="cpu")
    assert loaded[0].model == str(here)
    np.testing.assert_array_equal(loaded.predict(vowels["path"][:3]), fitted.predict(vowels["path"][:3]))
    here.rename(tmp_path / "moved")
    assert load_model(tmp_path / "model", model=str(tmp_path / "moved"))[0].layers == [1, -1]
    with pytest.raises(ValueError, match="Got features with another weights than"):
        load_model(tmp_path / "model", model=str(tmp_path / "encoder1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "of format 'other'"),
        ({"format_version": 99}, "version 99, expected 'gendiffclf.speech', at most 1"),
        ({"featurizer": {"kind": "nobody"}}, "Got featurizer 'nobody'"),
    ],
)
def test_other_folders_are_refused(change, message, vowels, pipeline, tmp_path):
    save_model(train(pipeline, vowels), tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "model")


def test_no_model(tmp_path):
    with pytest.raises(ValueError, match=r"without a readable model\.json"):
        load_model(tmp_path)


def test_what_a_folder_cannot_hold(vowels, tmp_path):
    other = train(make_pipeline(FbankFeaturizer(n_mels=20), LogisticRegression()), vowels)
    with pytest.raises(TypeError, match="Got pipeline FbankFeaturizer -> LogisticRegression"):
        save_model(other, tmp_path / "model")

    class Own(FbankFeaturizer):
        pass

    own = train(make_pipeline(Own(n_mels=20), GenerativeTransportClassifier(**QUICK)), vowels)
    with pytest.raises(TypeError, match="Got Own, expected a featuriser in FEATURIZERS"):
        save_model(own, tmp_path / "model")
