"""Training, the folder of a model, and predictions."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from featurizers.conftest import save_checkpoint, tiny_config
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier, HubertFeaturizer, cli
from gendiffclf.featurizers import FunctionFeaturizer, SpeakerNormalizer
from gendiffclf.speech import evaluate, load_model, predict_clips, save_model, train
from gendiffclf.speech.prediction import write_predictions

from .conftest import QUICK


def test_a_trained_model_comes_back_the_same(vowels, pipeline, tmp_path):
    fitted = train(pipeline.set_params(fbankfeaturizer__deltas=1), vowels)
    assert not hasattr(pipeline[-1], "classes_")
    save_model(fitted, tmp_path / "new" / "model", about={"n_clips": 18})
    assert sorted(path.name for path in (tmp_path / "new").rglob("*")) == [
        "generativetransportclassifier.safetensors",
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
    with pytest.warns(UserWarning, match="Got 1 of 3 clips that are broken .*they have no prediction"):
        found = predict_clips(fitted, asked)
    assert found["error"].notna().tolist() == [True, False, False]
    assert found["predicted"].isna().tolist() == [True, False, False]
    proba = found[["p_heed", "p_hod", "p_who'd"]]
    assert np.isnan(proba.iloc[0]).all()
    np.testing.assert_allclose(proba.iloc[1:].sum(axis=1), 1)
    assert np.isnan(found.loc[0, ["confidence", "score"]].astype(float)).all()
    np.testing.assert_array_equal(found["confidence"][1:], proba.iloc[1:].max(axis=1))
    np.testing.assert_allclose(found["score"][1], fitted.score_samples([vowels["path"][0]])[0], atol=1e-4)
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


def test_json_lines_without_probabilities_hold_null(vowels, tmp_path):
    rows = FbankFeaturizer(n_mels=20).transform(vowels["path"])
    fitted = train(make_pipeline(StandardScaler(), LinearSVC()), vowels, features=rows)
    write_predictions(predict_clips(fitted, vowels, features=rows), tmp_path / "found.jsonl", "jsonl")
    text = (tmp_path / "found.jsonl").read_text()
    assert "NaN" not in text  # which is no JSON
    first = json.loads(text.splitlines()[0])
    assert first["probabilities"] == {"heed": None, "hod": None, "who'd": None}
    assert first["predicted"] in first["probabilities"]


def test_labels_need_not_be_the_most_probable_ones(vowels):
    pair = vowels[vowels["label"] != "who'd"]
    rows = FbankFeaturizer(n_mels=20).transform(pair["path"])
    cautious = FixedThresholdClassifier(LogisticRegression(max_iter=1000), threshold=1.0, pos_label="hod")
    fitted = train(cautious, pair, features=rows)
    found = predict_clips(fitted, pair, features=rows)
    assert set(found["predicted"]) == {"heed"}
    np.testing.assert_array_equal(found["confidence"], found["p_heed"])
    assert set(evaluate(cautious, pair, features=rows, n_folds=2).predictions["predicted"]) == {
        "heed"
    }  # the same label


def test_nothing_but_broken_clips(vowels, pipeline, broken):
    fitted = train(pipeline, vowels)
    with pytest.warns(UserWarning, match="Got 1 of 1 clips that are broken"):
        found = predict_clips(fitted, pd.DataFrame({"path": [broken]}))
    assert found["error"].notna().all()


def test_clips_whose_labels_say_little_are_warned_of(vowels, pipeline, tmp_path):
    fitted = train(pipeline, vowels)
    samples, rate = soundfile.read(vowels["path"][0])
    odd = {"silent": 0 * samples, "short": samples[:1000], "both": np.zeros(100), "loud": samples * 30000}
    for name, changed in odd.items():
        soundfile.write(tmp_path / f"{name}.wav", changed, rate, subtype="FLOAT")
    paths = [str(tmp_path / f"{name}.wav") for name in odd]
    with (
        pytest.warns(UserWarning, match="silent: 2 of 5 clips are silent.*silent.wav, .*both.wav"),
        pytest.warns(UserWarning, match="short: 2 of 5 clips are shorter than 0.1 s"),
        pytest.warns(UserWarning, match="unscaled: 1 of 5 clips"),
    ):
        found = predict_clips(fitted, pd.DataFrame({"path": [vowels["path"][0], *paths]}))
    assert found["warning"].tolist() == [None, "silent", "short", "silent; short", "unscaled"]
    assert found["error"].isna().all()
    assert found["score"].idxmin() in (1, 3)  # silence is least like vowels
    write_predictions(found, tmp_path / "found.jsonl", "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [line["warning"] for line in lines] == found["warning"].tolist()
    assert lines[1]["score"] == pytest.approx(found["score"][1])
    # Features that were given say nothing of sound, and other classifiers may have no scores.
    rows = fitted[0].transform(vowels["path"])
    plain = predict_clips(train(LogisticRegression(max_iter=1000), vowels, features=rows), vowels, features=rows)
    assert plain["warning"].isna().all()
    assert plain["score"].isna().all()
    assert plain["confidence"].notna().all()


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
    with pytest.raises(ValueError, match="Got features whose weights differ from"):
        load_model(tmp_path / "model", model=str(tmp_path / "encoder1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "of format 'other'"),
        ({"format_version": 99}, "version 99, expected 'gendiffclf.speech', version 2"),
        ({"featurizer": {"name": "f", "kind": "nobody"}}, "Got featurizer 'nobody'"),
        ({"featurizer": {}}, r"model.json, which is damaged \(KeyError"),
        ({"steps": None}, r"model.json, which is damaged \(TypeError"),
        ({"classes": ["other"]}, "Got a classifier whose classes differ from"),
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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:200], r"without a readable model\.json"),
        (lambda text: "[]", r"without a readable model\.json"),
        (lambda text: text.replace('"steps"', '"stepz"'), r"model\.json, which is damaged \(KeyError: 'steps'\)"),
    ],
)
def test_a_damaged_description_is_one_line(damage, message, clip_folder, vowels, pipeline, encoded, tmp_path, capsys):
    save_model(train(pipeline, vowels), tmp_path / "model")
    description = tmp_path / "model" / "model.json"
    description.write_text(damage(description.read_text()))
    before = len(encoded)
    with pytest.raises(SystemExit):
        cli.main(["predict", str(tmp_path / "model"), str(clip_folder)])
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert err.count("\n") == 1
    assert len(encoded) == before


def test_what_a_folder_cannot_hold(vowels, tmp_path):
    class Own(FbankFeaturizer):
        pass

    own = train(make_pipeline(Own(n_mels=20), GenerativeTransportClassifier(**QUICK)), vowels)
    with pytest.raises(TypeError, match="Got Own, expected a featuriser in FEATURIZERS"):
        save_model(own, tmp_path / "model")


def test_other_classifiers_and_given_features_can_be_saved(vowels, tmp_path):
    features = FbankFeaturizer(n_mels=20).transform(vowels["path"])
    steps = (SpeakerNormalizer(n_clips=3), StandardScaler(), LogisticRegression())
    for name, pipeline, given in (
        ("whole", make_pipeline(FbankFeaturizer(n_mels=20), *steps), {}),
        ("given", make_pipeline(*steps), {"features": features}),
    ):
        fitted = train(pipeline, vowels, **given)
        save_model(fitted, tmp_path / name)
        loaded = load_model(tmp_path / name)
        assert [step for step, _ in loaded.steps] == [step for step, _ in fitted.steps]
        pd.testing.assert_frame_equal(predict_clips(fitted, vowels, **given), predict_clips(loaded, vowels, **given))
        assert loaded.speakers_ == fitted.speakers_


def test_a_function_is_given_again_at_loading(vowels, tmp_path):
    def spread(samples):
        return [np.std(samples), np.max(samples)]

    featurizer = FunctionFeaturizer(spread, "spread-1", 16000, cache=None)
    fitted = train(make_pipeline(featurizer, GenerativeTransportClassifier(**QUICK)), vowels)
    save_model(fitted, tmp_path / "model")
    with pytest.raises(ValueError, match="expected the function named 'spread-1'"):
        load_model(tmp_path / "model")
    loaded = load_model(tmp_path / "model", encode=spread, cache=None)
    np.testing.assert_array_equal(loaded.predict(vowels["path"]), fitted.predict(vowels["path"]))


@pytest.mark.parametrize("copy", [False, True])
def test_a_model_moves_with_its_local_encoder(copy, vowels, tmp_path):
    here = tmp_path / "a"
    save_checkpoint(here / "encoder", tiny_config("hubert", "layer"))
    featurizer = HubertFeaturizer(here / "encoder", layers=-1, device="cpu")
    fitted = train(make_pipeline(featurizer, GenerativeTransportClassifier(**QUICK)), vowels)
    save_model(fitted, here / "model", copy_encoder=copy)
    expected = fitted.predict(vowels["path"])
    if copy:
        (here / "model").rename(tmp_path / "moved")
        shutil.rmtree(here)
        place = tmp_path / "moved"
    else:
        here.rename(tmp_path / "b")
        place = tmp_path / "b" / "model"
    np.testing.assert_array_equal(load_model(place, cache=None).predict(vowels["path"]), expected)
    encoder = place / "encoder" if copy else tmp_path / "b" / "encoder"
    encoder.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"whose speech encoder is neither in .*set model \(--encoder\) to its folder"):
        load_model(place)
    with pytest.raises(ValueError, match=r"Got model='no/where' for .*whose speech encoder was read from a folder"):
        load_model(place, model="no/where")  # no hub is asked
    assert load_model(place, model=str(tmp_path / "elsewhere"))[0].layers == -1


def test_a_copied_encoder_survives_replacing_its_model(vowels, tmp_path):
    encoder = save_checkpoint(tmp_path / "encoder", tiny_config("hubert", "layer"))
    featurizer = HubertFeaturizer(encoder, layers=-1, device="cpu")
    fitted = train(make_pipeline(featurizer, GenerativeTransportClassifier(**QUICK)), vowels)
    expected = fitted.predict(vowels["path"])
    save_model(fitted, tmp_path / "model", copy_encoder=True)
    shutil.rmtree(encoder)
    save_model(load_model(tmp_path / "model"), tmp_path / "model", overwrite=True)
    np.testing.assert_array_equal(load_model(tmp_path / "model", cache=None).predict(vowels["path"]), expected)


def test_swapped_and_missing_classifiers_are_found(vowels, pipeline, tmp_path):
    for name in ("a", "b"):
        kept = vowels if name == "a" else vowels[vowels["label"] != "hod"].reset_index(drop=True)
        save_model(train(pipeline, kept), tmp_path / name)
    file = "generativetransportclassifier.safetensors"
    shutil.copy(tmp_path / "b" / file, tmp_path / "a" / file)
    with pytest.raises(ValueError, match=r"is missing or does not match model\.json"):
        load_model(tmp_path / "a")
    (tmp_path / "b" / file).unlink()
    with pytest.raises(ValueError, match="is missing or does not match"):
        load_model(tmp_path / "b")


def test_a_damaged_encoder_is_found_before_any_work(vowels, tmp_path):
    encoder = save_checkpoint(tmp_path / "encoder", tiny_config("hubert", "layer"))
    featurizer = HubertFeaturizer(encoder, layers=-1, device="cpu")
    save_model(train(make_pipeline(featurizer, GenerativeTransportClassifier(**QUICK)), vowels), tmp_path / "model")
    weights = encoder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="Got features whose weights differ from"):
        load_model(tmp_path / "model")
    (encoder / "config.json").write_text("{")
    with pytest.raises((ValueError, OSError), match="Got model="):
        load_model(tmp_path / "model")


def test_types_that_are_not_trusted_are_named(vowels, tmp_path):
    class Nothing(LogisticRegression):
        pass

    save_model(train(make_pipeline(FbankFeaturizer(n_mels=20), Nothing()), vowels), tmp_path / "model")
    with pytest.raises(ValueError, match=r"with the types \[.*Nothing.*\], expected trusted types"):
        load_model(tmp_path / "model")


def test_parameters_of_other_featurisers_are_refused(vowels, pipeline, tmp_path):
    save_model(train(pipeline, vowels), tmp_path / "model")
    with pytest.raises(ValueError, match=r"Got model \(--encoder\) for a model of fbank features"):
        load_model(tmp_path / "model", model="encoder")
    assert load_model(tmp_path / "model", device="cpu")


@pytest.mark.parametrize("device", ["cpu", ["cpu", "cpu"]])
def test_a_device_is_set_in_all_steps(vowels, pipeline, tmp_path, device):
    fitted = train(pipeline, vowels)
    expected = fitted.predict_proba(vowels["path"][:3])
    fitted[-1].set_params(device="meta")  # of another machine
    save_model(fitted, tmp_path / "model")
    loaded = load_model(tmp_path / "model", device=device, verbose=1)
    assert (loaded[-1].device, loaded[-1].verbose) == ("cpu", fitted[-1].verbose)
    np.testing.assert_array_equal(loaded.predict_proba(vowels["path"][:3]), expected)


def test_a_model_without_a_featuriser_has_a_device(vowels, tmp_path):
    features = np.random.default_rng(0).normal(size=(len(vowels), 3))
    classifier = make_pipeline(StandardScaler(), GenerativeTransportClassifier(**QUICK))
    save_model(train(classifier, vowels, features=features), tmp_path / "model")
    assert load_model(tmp_path / "model", device="cpu", cache=None)[-1].device == "cpu"
    for changes, message in (
        ({"device": "nonsense"}, "Got device='nonsense', expected 'auto'"),
        ({"device": []}, r"Got device=\[\], expected at least one device"),
        ({"bogus": 3}, "Got bogus for a model without a featuriser, expected some of cache, device"),
        ({"model": "encoder"}, r"Got model \(--encoder\) for a model without a featuriser"),
    ):
        with pytest.raises(ValueError, match=message):
            load_model(tmp_path / "model", **changes)
