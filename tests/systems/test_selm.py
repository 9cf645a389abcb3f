"""SelmClassifier: learning, texts of labels, few clips, views, and scikit-learn's and the shared parts' promises."""

import pickle
import shutil

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import Pipeline

pytest.importorskip("accelerate")

from gendiffclf import FbankFeaturizer, SelmClassifier
from gendiffclf.featurizers.mel import FbankEncoder
from gendiffclf.metrics import expected_calibration_error
from gendiffclf.systems.selm_language import byte_tokenizer
from gendiffclf.systems.selm_texts import View

from .conftest import RATE, tone

SMALL = {
    "encoder": FbankFeaturizer(n_mels=8),
    "language_model": "bytes",
    "n_prefix": 2,
    "n_mapper_layers": 1,
    "n_heads": 4,
    "n_epochs": 1,
    "few_shot_epochs": 1,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "device": "cpu",
    "precision": "float32",  # "auto" is bfloat16 on some machines
    "random_state": 0,
}


def small(**changes):
    return SelmClassifier(**{**SMALL, **changes})


@pytest.fixture(scope="module")
def clips():
    """24 tones of 0.15 to 0.4 s, low and high in turn."""
    seconds = np.random.default_rng(0).uniform(0.15, 0.4, 24)
    return [(tone(seconds[i], (250, 1500)[i % 2], 0.5, i), RATE) for i in range(24)]


@pytest.fixture(scope="module")
def labels():
    return np.array(["low", "high"] * 12)


@pytest.fixture(scope="module")
def learnt(clips, labels):
    return small(n_epochs=15).fit(clips, labels)


@pytest.fixture
def fitted(learnt):
    """A copy for each test."""
    return pickle.loads(pickle.dumps(learnt))


def test_it_learns_and_answers_in_words(fitted, clips, labels):
    new = [(tone(0.3, frequency, 0.4, 99), RATE) for frequency in (240, 1450)]
    proba = fitted.predict_proba(new)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert fitted.predict(new).tolist() == ["low", "high"]
    assert fitted.score(clips, labels) == 1
    assert fitted.generate(new) == ["low", "high"]
    assert fitted.loss_curve_[-1] < 0.3 * fitted.loss_curve_[0]


def test_a_prediction_does_not_depend_on_the_batch(fitted, clips):
    together = fitted.predict_proba(clips)
    alone = np.concatenate([fitted.predict_proba([clip]) for clip in clips[:6]])
    np.testing.assert_allclose(alone, together[:6], atol=1e-5)


@pytest.mark.parametrize("length_normalize", [False, True])
def test_probabilities_are_those_of_the_texts(length_normalize, fitted, clips):
    import torch

    from gendiffclf.systems.selm_language import answer_tokens, prompt_tokens
    from gendiffclf.systems.steps import encode

    fitted.set_params(label_texts={"low": ["low", "deep voice"], "high": "high"}, length_normalize=length_normalize)
    model, tokenizer = fitted.network_.eval(), fitted.tokenizer_
    frames, _ = encode(fitted.get_params(deep=False), clips[:1])
    prompt = torch.tensor([prompt_tokens(tokenizer, "this person is feeling")])
    mask = torch.ones(1, len(frames[0]), dtype=torch.bool)
    with torch.inference_mode():
        prefix = model.prefix(torch.tensor(frames[0])[None], mask, prompt, torch.tensor([prompt.shape[1]]))
        scores = []
        for text in ("high", "low", "deep voice"):
            tokens = answer_tokens(tokenizer, text)
            embedded = torch.cat([prefix, model.embed(torch.tensor([tokens]))], dim=1)
            log_p = model.language_model(inputs_embeds=embedded).logits[0].double().log_softmax(dim=-1)
            total = sum(log_p[prefix.shape[1] - 1 + i, token].item() for i, token in enumerate(tokens))
            scores.append(np.exp(total / len(tokens) if length_normalize else total))
    high, low = scores[0], (scores[1] + scores[2]) / (2 if length_normalize else 1)
    np.testing.assert_allclose(fitted.predict_proba(clips[:1]), [[high / (high + low), low / (high + low)]], atol=1e-5)


def test_label_texts_may_change_after_fit(fitted, clips):
    before = fitted.predict_proba(clips)
    fitted.set_params(label_texts={"low": "low", "high": "high"})
    np.testing.assert_allclose(fitted.predict_proba(clips), before, atol=1e-6)
    fitted.set_params(label_texts={0: "low", 1: ["high", "shrill"], 2: "hum"})
    assert fitted.classes_.tolist() == [0, 1, 2]
    three = fitted.predict_proba(clips)
    assert three.argmax(axis=1).tolist() == [0, 1] * 12
    # More texts can only add to a label's probability, before all labels are scaled to sum to 1.
    assert (three[:, 1] / three[:, 0] >= before[:, 0] / before[:, 1] - 1e-6).all()


def test_few_clips_of_a_new_label_change_the_mappers_alone(fitted):
    new = [(tone(0.3, 600, 0.5, seed), RATE) for seed in range(8)]
    before = {name: value.clone() for name, value in fitted.network_.state_dict().items()}
    fitted.set_params(few_shot_epochs=40).partial_fit(new, ["middle"] * 4 + ["high"] * 4)
    assert fitted.classes_.tolist() == ["high", "low", "middle"]
    for name, value in fitted.network_.state_dict().items():
        if name.startswith("language_model."):
            assert value.equal(before[name]), name
    changed = [name for name, value in fitted.network_.state_dict().items() if not value.equal(before[name])]
    assert any(name.startswith("audio_mapper.") for name in changed)
    assert any(name.startswith("text_mapper.") for name in changed)
    assert fitted.network_.tunes_language_model  # as before, for a later fit of the same object


def test_few_clips_move_the_prediction(fitted):
    new = [(tone(0.3, 600, 0.5, seed), RATE) for seed in range(8)]
    before = fitted.predict_proba(new)[:, 1]
    opposite = "low" if before.mean() < 0.5 else "high"
    fitted.set_params(few_shot_epochs=40).partial_fit(new, [opposite] * 8)
    assert set(fitted.predict(new)) == {opposite}


def test_views_are_asked_by_name(clips, labels):
    views = {"place": View("the place is", {"low": "down", "high": "up"})}
    classifier = small(views=views, n_epochs=15).fit(clips, labels)
    assert classifier.generate(clips[:2], view="place") == ["down", "up"]
    assert classifier.predict(clips[:2]).tolist() == ["low", "high"]
    with pytest.raises(ValueError, match="Got view='mood', expected one of 'place'"):
        classifier.generate(clips[:2], view="mood")


def test_a_view_without_views_is_refused(fitted, clips):
    with pytest.raises(
        ValueError, match=r"Got view='vad', expected None, since fit had no views; fit with views=\['vad"
    ):
        fitted.generate(clips[:2], view="vad")


def test_a_language_model_that_is_not_there_fails_before_clips_are_encoded(clips, labels, tmp_path, monkeypatch):
    def fail(*_):
        raise AssertionError("encoded")

    monkeypatch.setattr(FbankEncoder, "encode", fail)
    with pytest.raises(OSError, match="expected a hub name or the folder of a causal language model"):
        small(language_model=tmp_path / "none", cache=None).fit(clips, labels)
    with pytest.raises(AssertionError, match="encoded"):
        small(cache=None).fit(clips, labels)


def save_language_model(folder):
    """A small GPT-2 of random weights in a folder, with its tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = byte_tokenizer()
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64, **ends)
        model = GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def test_a_language_model_from_a_folder_is_frozen_by_default(clips, labels, tmp_path):
    model = save_language_model(tmp_path)
    classifier = small(language_model=tmp_path).fit(clips, labels)
    own = classifier.network_.language_model.state_dict()
    assert all(value.equal(own[name]) for name, value in model.state_dict().items())
    tuned = small(language_model=tmp_path, tune_language_model=True).fit(clips, labels)
    assert not tuned.network_.language_model.lm_head.weight.equal(model.lm_head.weight)


def test_training_in_half_precision_is_close_and_keeps_float32(clips, labels):
    import torch

    whole, half = (
        small(dropout=0.0, n_epochs=3, precision=name).fit(clips, labels) for name in ("float32", "bfloat16")
    )
    assert {weight.dtype for weight in half.network_.parameters()} == {torch.float32}
    assert half.loss_curve_ != whole.loss_curve_
    np.testing.assert_allclose(half.loss_curve_, whole.loss_curve_, rtol=0.05)


def test_a_fit_is_quiet_and_verbose_shows_progress(clips, labels, tmp_path, capfd):
    save_language_model(tmp_path)
    capfd.readouterr()
    small(language_model=tmp_path, n_heads=2).fit(clips, labels)
    assert capfd.readouterr() == ("", "")
    small(language_model=tmp_path, n_heads=2, verbose=1).fit(clips, labels)
    assert "3/3" in capfd.readouterr().err


def test_clone_and_pickle(fitted, clips):
    copied = clone(fitted)
    with pytest.raises(AttributeError, match="Got classes_ before fit, expected it after; call fit first"):
        _ = copied.classes_
    assert repr(copied.get_params(deep=False)) == repr(fitted.get_params(deep=False))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(clips), fitted.predict_proba(clips))


def test_a_folder_holds_all_of_it(fitted, clips, tmp_path):
    fitted.set_params(label_texts={1: "low", 2: ["high", "shrill"]}, views={"own": View("own?", {1: "x"})})
    fitted.save(tmp_path / "model")
    again = SelmClassifier.load(tmp_path / "model", device="cpu")
    assert again.classes_.tolist() == [1, 2]
    assert again.views == fitted.views
    np.testing.assert_array_equal(again.predict_proba(clips), fitted.predict_proba(clips))
    assert again.generate(clips[:2]) == fitted.generate(clips[:2])
    with pytest.raises(ValueError, match="which exists"):
        fitted.save(tmp_path / "model")


def test_fits_of_one_seed_are_equal(clips, labels):
    first, second = (small().fit(clips, labels).predict_proba(clips) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_killed_fit_goes_on_to_the_same_weights(clips, labels, tmp_path):
    whole = small(n_epochs=3).fit(clips, labels)
    small(n_epochs=3, checkpoints=tmp_path).fit(clips, labels)
    (run,) = tmp_path.iterdir()
    last = max(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(last)  # as a kill in the last epoch leaves the folder
    resumed = small(n_epochs=3, checkpoints=tmp_path).fit(clips, labels)
    for name, value in whole.network_.state_dict().items():
        np.testing.assert_array_equal(resumed.network_.state_dict()[name], value)


def test_cross_validation_by_speakers_and_a_grid(clips, labels):
    speakers = np.repeat(["anna", "ben"], 12)
    pipeline = Pipeline([("emotion", small())])
    search = GridSearchCV(pipeline, {"emotion__n_epochs": [1, 20]}, cv=GroupKFold(2))
    search.fit(clips, labels, groups=speakers)
    assert search.best_params_ == {"emotion__n_epochs": 20}
    assert search.best_score_ > 0.9
    found = cross_validate(search.best_estimator_, clips, labels, groups=speakers, cv=GroupKFold(2))
    assert found["test_score"].mean() == search.best_score_
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(clips), search.predict(clips))


def test_a_temperature_from_held_out_clips_calibrates_overconfident_probabilities(learnt):
    pytest.importorskip("sklearn", minversion="1.8")
    clips = [(tone(0.2, (250, 1500)[i % 2], 0.5, i), RATE) for i in range(80)]
    labels = np.array([("low", "high")[(i + (i % 10 < 4)) % 2] for i in range(80)])  # the pitch tells 60 % of them
    calibrated = CalibratedClassifierCV(FrozenEstimator(learnt), method="temperature").fit(clips[:40], labels[:40])
    before, after = (classifier.predict_proba(clips[40:]) for classifier in (learnt, calibrated))
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert expected_calibration_error(labels[40:], before) > 0.2
    assert expected_calibration_error(labels[40:], after) < 0.1
    assert log_loss(labels[40:], after) < log_loss(labels[40:], before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": 7}, "Got n_heads=7, expected a divisor of the language model's width, 64"),
        ({"n_prefix": 0}, "Got n_prefix=0, expected an integer >= 1"),
        ({"dropout": 1.0}, "Got dropout=1.0"),
        ({"prompt": " "}, "Got prompt=' ', expected a string that is not blank"),
        ({"tune_language_model": "no"}, "Got tune_language_model='no', expected True or False"),
        ({"length_normalize": 1}, "Got length_normalize=1, expected True or False"),
        ({"learning_rate": 0}, "Got learning_rate=0"),
        ({"label_texts": {"low": "deep"}}, r"Got label_texts for \['low'\], expected also \['high'\]"),
        ({"n_prefix": 300}, "expected at most the 512 of the language model"),
    ],
)
def test_wrong_parameters_say_so(changes, message, clips, labels):
    with pytest.raises(ValueError, match=message):
        small(**changes).fit(clips[:4], labels[:4])


def test_wrong_calls_say_so(fitted, clips, labels):
    with pytest.raises(ValueError, match="Got 2 labels for 3 clips, expected one per clip"):
        small().fit(clips[:3], labels[:2])
    with pytest.raises(
        ValueError, match=r"Got y with None at index 1 \(1 of \d+ rows\), expected a value for each row"
    ):
        small().fit(clips[:3], ["low", None, "high"])
    with pytest.raises(ValueError, match="Got X with 0 clips, expected at least 1"):
        small().fit([], [])
    with pytest.raises(NotFittedError):
        small().predict(clips)
    with pytest.raises(NotFittedError):
        small().partial_fit(clips, labels)
    with pytest.raises(ValueError, match="an answer of 509 tokens, which need 513 positions, expected at most the 512"):
        fitted.generate(clips[:1], max_new_tokens=509)
    with pytest.raises(ValueError, match="Got max_new_tokens=0, expected an integer >= 1"):
        fitted.generate(clips[:1], max_new_tokens=0)
    with pytest.raises(ValueError, match=r"Got labels \['high', 'low', 3\], expected all strings or all numbers"):
        fitted.partial_fit(clips[:2], [3, 3])
    fitted.set_params(encoder=FbankFeaturizer(n_mels=9))
    with pytest.raises(ValueError, match="whose n_mels differ from those in fit, expected the same"):
        fitted.predict(clips)


def test_texts_with_the_same_tokens_are_refused(fitted, clips):
    from tokenizers.normalizers import Lowercase

    fitted.tokenizer_.backend_tokenizer.normalizer = Lowercase()
    fitted.set_params(label_texts={"low": "Deep", "high": "deep"})
    message = "Got label_texts 'deep' and 'Deep' with the same tokens, expected different ones; choose words"
    with pytest.raises(ValueError, match=message):
        fitted.predict(clips[:2])
    with pytest.raises(ValueError, match=message):
        fitted.partial_fit(clips[:2], ["low", "high"])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "generate"])
def test_nothing_is_predicted_before_fit(method, clips):
    with pytest.raises(NotFittedError):
        getattr(small(), method)(clips)
