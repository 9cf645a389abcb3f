"""Measures against scikit-learn, intervals against brute force and by their coverage, comparison, records."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, precision_recall_fscore_support, recall_score
from sklearn.svm import LinearSVC

from gendiffclf import expected_calibration_error
from gendiffclf.speech import audit, compare, evaluate
from gendiffclf.speech.intervals import draw_weights, interval, resample
from gendiffclf.speech.measures import Tally
from gendiffclf.speech.names import MEASURES
from gendiffclf.speech.provenance import corpus_hash, describe_run
from gendiffclf.speech.tables import GROUP_COLUMNS, differences, draw_measures, with_intervals


def reference(truth, predicted, proba, classes):
    """The measures as scikit-learn has them, over the classes that occur."""
    present = np.unique(truth)
    averaged = {"labels": present, "average": "macro", "zero_division": 0}
    return {
        "wa": np.mean(truth == predicted),
        "uar": recall_score(truth, predicted, **averaged),
        "macro_f1": f1_score(truth, predicted, **averaged),
        "log_loss": log_loss(truth, proba, labels=classes),
        "ece": expected_calibration_error(truth, proba, labels=classes),
    }


def predictions_of(truth, predicted, proba, classes):
    columns = {f"p_{label}": proba[:, k] for k, label in enumerate(classes)}
    return pd.DataFrame({"label": truth, "predicted": predicted, **columns})


def test_tallies_are_the_measures_of_scikit_learn():
    rng = np.random.default_rng(1)
    classes = np.array(["a", "b", "c", "d"])
    truth, unit = rng.choice(classes, 200), rng.integers(0, 5, 200)
    truth[unit == 0] = "b"  # a unit of one class
    proba = rng.dirichlet(np.ones(4) * 0.5, 200)
    predicted = classes[proba.argmax(1)]
    tally = Tally.of(predictions_of(truth, predicted, proba, classes), classes, unit, 5)
    for i in range(5):
        rows = unit == i
        expected = reference(truth[rows], predicted[rows], proba[rows], classes)
        assert {name: value[i] for name, value in tally.measures().items()} == pytest.approx(expected)
    # A bootstrap sample: unit 1 twice, unit 3 once, by repeating rows.
    drawn = tally.weighted(np.array([[0, 2, 0, 1, 0]])).measures()
    rows = np.concatenate([np.flatnonzero(unit == i) for i in (1, 1, 3)])
    expected = reference(truth[rows], predicted[rows], proba[rows], classes)
    assert {name: value[0] for name, value in drawn.items()} == pytest.approx(expected)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth[rows], predicted[rows], labels=classes, zero_division=0
    )
    of_classes = tally.weighted(np.array([[0, 2, 0, 1, 0]])).class_measures()
    for name, value in {"precision": precision, "recall": recall, "f1": f1}.items():
        np.testing.assert_allclose(of_classes[name][0], value)


def test_intervals_hold_the_true_value_as_often_as_they_say():
    """Of 6 speakers whose accuracies vary; a plain percentile interval holds it 85 times in 100."""
    rng = np.random.default_rng(0)
    held, plain = [], []
    classes = np.array(["a", "b"])
    for trial in range(300):
        accuracy = np.clip(rng.normal(0.6, 0.12, 6), 0, 1)
        right = rng.random((6, 200)) < accuracy[:, None]
        predicted = np.where(right, "a", "b").ravel()
        unit = np.repeat(np.arange(6), 200)
        table = predictions_of(np.full(1200, "a"), predicted, np.full((1200, 2), np.nan), classes)
        tally = Tally.of(table, classes, unit, 6)
        (drawn,) = resample([tally], trial, 400)
        values = drawn.measures()["wa"]
        low, high = interval(values, 6)
        held.append(low <= 0.6 <= high)
        plain.append(np.quantile(values, 0.025) <= 0.6 <= np.quantile(values, 0.975))
    assert 0.9 < np.mean(held) <= 1
    assert np.mean(plain) < np.mean(held)


def test_few_speakers_have_no_interval(table, tmp_path):
    """The range of 4 equal speakers holds their mean in 87 of 100 cases, so that equal systems would often seem different."""
    pytest.importorskip("matplotlib")
    corpus, features = table
    few = (corpus["speaker"] < "s4").to_numpy()
    first, second = (
        evaluate(model, corpus[few], features=features[few], groups=["gender"])
        for model in (LogisticRegression(), DummyClassifier())
    )
    assert first.intervals[["low", "high"]].isna().all(axis=None)
    assert "There are no intervals over 4 speakers, since they need at least 5." in str(first)
    assert "nan" not in str(first)
    assert "add speakers, since intervals need at least 5" in str(first.audit)
    assert first.as_dict()["intervals"]["measures"]["uar"]["low"] is None
    compared = compare(first, second)
    assert compared.claim.startswith(
        "Nothing can be claimed about UAR, as it has no interval. There are no intervals over 4"
    )
    assert "nan" not in str(compared)
    first.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "</strong>, no interval" in page
    assert "nan" not in page.partition("<h2")[2].partition("Confusion")[0]
    assert [np.isnan(interval(np.array([0.5, 0.6]), n)).all() for n in (1, 4, 5)] == [True, True, False]


def test_intervals_of_means_over_classes_are_of_samples_with_every_class():
    """Without the label of one speaker, which is never recognised, UAR is twice as high."""
    classes, unit = np.array(["a", "b"]), np.repeat(np.arange(6), 4)
    truth = np.where(unit == 0, "b", "a")
    table = predictions_of(truth, np.full(24, "a"), np.full((24, 2), np.nan), classes).assign(voice=unit.astype(str))
    tally = Tally.of(table, classes, unit, 6)
    ((_, drawn),) = draw_measures([tally], 0)
    whole = np.concatenate(list(draw_weights(6, 0)))[:, 0] > 0
    np.testing.assert_array_equal(drawn["uar"], np.where(whole, 0.5, np.nan))
    assert with_intervals(tally, 0).loc["uar"].tolist() == [0.5, 0.5, 0.5]
    np.testing.assert_array_equal(np.isnan(drawn["macro_f1"]), ~whole)
    assert not np.isnan(drawn["wa"]).any()
    assert differences([tally, tally], 0)["uar"] == (0.5, 0.5, 0, 0, 0)


@pytest.mark.filterwarnings("ignore:rare-class", "ignore:Got 7 speakers on both sides")
def test_means_over_classes_of_which_most_samples_lack_one_have_no_interval(sixty_clips):
    corpus, features = sixty_clips
    speaker = corpus["label"].map({"calm": "one", "sad": "another"}).fillna(corpus["speaker"])
    found = evaluate(LogisticRegression(), corpus.assign(speaker=speaker), "random", features=features)
    assert found.intervals["low"].isna().tolist() == [False, True, True, False, False]
    said = "UAR and macro-F1 have no interval over 7 speakers, since most samples of speakers lack a label."
    assert said in str(found)
    assert compare(found, found).claim == f"Nothing can be claimed about UAR, as it has no interval. {said}"
    assert compare(found, found, measure="wa").claim.startswith("It cannot be claimed")


def test_the_interval_of_a_calibration_error_holds_it():
    """A sample drawn with replacement has a larger ECE, which put the value below its own interval."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([1, 1], 120)
    truth = (rng.random(120) < proba[:, 1]).astype(int)
    classes, unit = np.array([0, 1]), np.repeat(np.arange(12), 10)
    tally = Tally.of(predictions_of(truth, proba.argmax(axis=1), proba, classes), classes, unit, 12)
    (drawn,) = resample([tally], 0)
    ((value, several),) = draw_measures([tally], 0)
    low, high = interval(several["ece"], 12)
    assert low < value["ece"] < high
    assert low > 0
    assert np.mean(drawn.measures()["ece"]) > 1.1 * value["ece"]
    assert np.mean(several["ece"]) == pytest.approx(value["ece"])
    np.testing.assert_array_equal(several["uar"], drawn.measures()["uar"])


def test_tables_by_speaker_class_and_group(table, found, tmp_path):
    predictions = found.predictions
    for row in found.by_speaker.to_dict("records"):
        part = predictions[predictions["speaker"] == row["speaker"]]
        assert row["n_clips"] == len(part) == 12
        assert row["wa"] == pytest.approx((part["label"] == part["predicted"]).mean())
    assert found.by_class["n_clips"].tolist() == [32, 32, 32]
    assert (found.by_class["recall_low"] <= found.by_class["recall"]).all()
    assert found.groups == ("gender",)
    women, men = found.by_group.to_dict("records")
    assert (women["value"], women["n_clips"], women["n_speakers"]) == ("female", 48, 4)
    assert women["uar"] > men["uar"]
    gap = found.gaps.set_index("measure").loc["uar"]
    assert gap["difference"] == pytest.approx(women["uar"] - men["uar"])
    assert np.isnan(gap["low"])  # with 4 speakers in each group
    corpus, features = table
    halves = evaluate(LogisticRegression(), corpus.assign(half=np.arange(96) < 48), features=features, groups=["half"])
    gap = halves.gaps.set_index("measure").loc["uar"]
    assert gap["low"] < gap["difference"] < gap["high"]
    assert predictions["confidence"].to_numpy() == pytest.approx(
        predictions[["p_angry", "p_calm", "p_sad"]].max(axis=1).to_numpy()
    )
    assert predictions["score"].isna().all()  # logistic regression has no score_samples
    years = evaluate(LogisticRegression(), corpus, features=features, groups=["year"]).by_group
    assert len(years) == 4  # quarters
    assert years["value"][0].startswith("1950 to ")
    assert years["n_clips"].sum() == 96
    rooms = corpus.assign(room=np.where(corpus["gender"] == "male", "9", "10"))
    assert evaluate(LogisticRegression(), rooms, features=features, groups=["room"]).gaps["a"][0] == "9"
    with pytest.raises(ValueError, match=r"Got groups=\['height'\], expected columns"):
        evaluate(LogisticRegression(), corpus, features=features, groups=["height"])
    with pytest.raises(ValueError, match=r"Got groups='gender', expected a list of names; pass \['gender'\]"):
        evaluate(LogisticRegression(), corpus, features=features, groups="gender")
    for name in ("fold", "p_angry"):
        with pytest.raises(ValueError, match=f"expected no '{name}', which is a column of the results; rename"):
            evaluate(LogisticRegression(), corpus.assign(**{name: "x"}), features=features, groups=[name])
    numbered = evaluate(LogisticRegression(), rooms.rename(columns={"room": 7}), features=features, groups=[7])
    assert numbered.groups == (7,)
    numbered.report(tmp_path / "report.html")
    assert "7: 9 minus 10" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gender" in GROUP_COLUMNS


def test_scores_of_the_classifier_are_in_the_predictions(vowels, pipeline):
    scores = evaluate(pipeline, vowels, n_folds=2).predictions["score"]
    assert (scores <= 0).all()


def test_intervals_without_speakers_draw_clips(table):
    corpus, features = table
    with pytest.warns(UserWarning, match="without the column 'speaker'"):
        found = evaluate(LogisticRegression(), corpus.drop(columns="speaker"), "random", features=features)
    assert found.by_speaker is None
    assert "Intervals are over 96 clips" in str(found)


def test_comparison(table, found, tmp_path):
    corpus, features = table
    chance = evaluate(DummyClassifier(), corpus, features=features)
    better = compare(found, chance, names=("logistic", "chance"))
    assert better.claim.startswith("logistic is better than chance on unseen speakers")
    right, wrong = ((e.predictions["label"] == e.predictions["predicted"]).to_numpy() for e in (found, chance))
    only_a, only_b = int((right & ~wrong).sum()), int((wrong & ~right).sum())
    assert (better.only_a, better.only_b) == (only_a, only_b)
    assert better.p_value == pytest.approx(binomtest(only_a, only_a + only_b).pvalue)
    assert better.differences.loc["uar", "difference"] == pytest.approx(found.pooled["uar"] - chance.pooled["uar"])
    turned = compare(chance, found, names=("chance", "logistic"), measure="wa")
    assert turned.claim.startswith("logistic is better than chance")
    noisy = compare(found, chance, measure="log_loss")
    assert noisy.claim.startswith("It cannot be claimed that")
    assert "McNemar" not in noisy.claim  # which is about right and wrong
    same = compare(found, found)
    assert same.p_value == 1
    assert same.differences[["difference", "low", "high"]].to_numpy() == pytest.approx(0)
    assert same.claim.startswith("It cannot be claimed that a is better than b")
    # From files, in any order of rows.
    found.predictions.sample(frac=1, random_state=0).to_csv(tmp_path / "a.csv", index=False)
    chance.predictions.to_csv(tmp_path / "b.csv", index=False)
    from_files = compare(tmp_path / "a.csv", tmp_path / "b.csv", names=("logistic", "chance"))
    pd.testing.assert_frame_equal(from_files.differences, better.differences)


def test_segments_without_start_or_end_are_compared(table, tmp_path):
    corpus, features = table
    number = np.arange(len(corpus))
    parts = corpus.assign(
        path="long.wav", start=np.where(number, number, np.nan), end=np.where(number < 95, number + 1, np.nan)
    )
    found = evaluate(LogisticRegression(), parts, features=features)
    found.predictions.to_csv(tmp_path / "a.csv", index=False)
    assert compare(found, tmp_path / "a.csv").n_clips == 96
    whole = parts.assign(start=number, end=number + 1)
    found = evaluate(LogisticRegression(), whole, features=features)
    found.predictions.to_csv(tmp_path / "a.csv", index=False)
    assert compare(tmp_path / "a.csv", found.predictions.astype({"start": float, "end": float})).n_clips == 96
    assert len(set(audit(parts, sound=False).content)) == 96


def test_only_the_same_is_compared(table, found):
    corpus, features = table
    other = evaluate(LogisticRegression(), corpus, features=features, random_state=1)
    with pytest.raises(ValueError, match=r"different folds for .* the same folds, n_folds and random_state"):
        compare(found, other)
    with pytest.raises(ValueError, match=r"12 of them in one only \(0.wav, 16.wav, 24.wav, …\), expected the same"):
        compare(found, found.predictions.query("speaker != 's0'"))
    with pytest.raises(ValueError, match="different labels for 96 of 96"):
        compare(found, found.predictions.assign(label="angry", predicted="calm").assign(label="?"))
    with pytest.raises(ValueError, match="Got b without path, fold, voice"):
        compare(found, pd.DataFrame({"label": ["a"], "predicted": ["a"]}))
    with pytest.raises(ValueError, match="which is not a file"):
        compare(found, "nowhere.csv")
    with pytest.raises(
        ValueError, match=r"Got clips with the labels \['glad'\], expected some of those with a column of"
    ):
        compare(found, found.predictions.replace({"predicted": {"sad": "glad"}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv, which is empty, expected a file written by `gendiffclf evaluate --predictions`; add a header"),
        (b"fLaC\xff\xf8", "a.csv with bytes that are not UTF-8, expected a file written by"),
        (b'path,fold\n"a.wav,0\n', "a.csv with a quote that does not end, expected a file written by"),
        (b'{\n"a": 1,\n"b": [1, 2, 3]\n}\n', "a.csv with rows of unequal length .*, expected a file written by"),
        (b"path,fold,voice,label,predicted,p_sad\n", "a.csv with 0 clips, expected at least 1"),
    ],
)
def test_files_without_predictions_are_not_compared(content, message, found, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"Got .*{message}"):
        compare(tmp_path / "a.csv", found)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("predicted", "", "'' in the column 'predicted' of row 3, expected a value; write it again by"),
        ("voice", " ", "' ' in the column 'voice' of row 3, expected a value"),
        ("p_sad", "", "'' in the column 'p_sad' of row 3, expected a number from 0 to 1; write it again by"),
        ("p_sad", "abc", "'abc' in the column 'p_sad' of row 3, expected a number from 0 to 1"),
        ("p_sad", "1.1", "'1.1' in the column 'p_sad' of row 3, expected a number from 0 to 1"),
        ("p_sad", "-inf", "'-inf' in the column 'p_sad' of row 3, expected a number from 0 to 1"),
        ("votes_sad", "-1", "'-1' in the column 'votes_sad' of row 3, expected a number >= 0"),
    ],
)
def test_cells_that_are_no_predictions_are_named(column, cell, message, found, tmp_path):
    votes = {f"votes_{label}": (found.predictions["label"] == label) * 3 for label in found.classes}
    table = found.predictions.assign(**votes).astype(str)
    table.iloc[2, table.columns.get_loc(column)] = cell
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=f"Got .*a.csv with {message}"):
        compare(found, tmp_path / "a.csv")


def test_evaluations_without_probabilities_are_compared(table, tmp_path):
    found = evaluate(LinearSVC(), table[0], features=table[1])
    found.predictions.to_csv(tmp_path / "a.csv", index=False)
    assert compare(found, tmp_path / "a.csv").differences.loc["uar", "difference"] == 0


@pytest.mark.filterwarnings("ignore:Got 1 of 96 clips that are broken")
def test_a_clip_that_is_broken_for_one_of_them_is_named(table, found):
    corpus, features = table
    missing = features.copy()
    missing[7] = np.nan
    other = evaluate(LogisticRegression(), corpus, features=missing)
    with pytest.raises(ValueError, match=r"1 of them in one only \(7.wav\), .* without clips that are broken for one"):
        compare(found, other)
    rest = np.arange(96) != 7
    both = [evaluate(LogisticRegression(C=c), corpus[rest], features=features[rest]) for c in (1, 0.1)]
    assert compare(*both).n_clips == 95


def test_measures_tell_how_to_repeat_them(table, found, tmp_path):
    corpus, features = table
    found.to_json(tmp_path / "measures.json")
    content = json.loads((tmp_path / "measures.json").read_text())
    about = content["about"]
    assert about["random_state"] == 0
    assert about["folds"] == "speaker"
    assert sorted(row for rows in about["test_rows"] for row in rows) == list(range(96))
    assert about["pipeline"][0]["class"].endswith("LogisticRegression")
    assert about["pipeline"][0]["parameters"]["C"] == 1.0
    assert {"python", "gendiffclf", "numpy", "scikit-learn"} <= set(about["versions"])
    other = type("Other", (LogisticRegression,), {"__module__": "pytest.other"})()
    assert (
        describe_run(other, corpus, np.arange(96).astype(str), "random", [])["versions"]["pytest"] == pytest.__version__
    )
    assert content["intervals"]["n_drawn"] == 8
    assert content["intervals"]["measures"]["uar"]["low"] < content["pooled"]["uar"]
    assert set(content["pooled"]) == set(MEASURES)
    assert [row["speaker"] for row in content["by_speaker"]] == [f"s{i}" for i in range(8)]
    assert content["audit"]["n_speakers"] == 8
    # The hash is of content, label and speaker, whatever the order and the paths.
    order = np.random.default_rng(0).permutation(96)
    moved = corpus.iloc[order].assign(path="elsewhere.wav")
    again = evaluate(LogisticRegression(), moved, features=features[order])
    assert again.about["corpus_sha256"] == about["corpus_sha256"]
    other = evaluate(LogisticRegression(), corpus.assign(label=np.roll(corpus["label"], 1)), features=features)
    assert other.about["corpus_sha256"] != about["corpus_sha256"]
    # Clips without content have the numbers of their rows.
    content = np.array(["clip 0", *map(str, range(1, 96))])
    reordered = np.where(order == 0, f"clip {np.argmin(order)}", content[order])
    assert corpus_hash(corpus.iloc[order], reordered) == corpus_hash(corpus, content)
