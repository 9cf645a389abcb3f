"""Clips that several people labelled: from tables with their votes to a fit and its figures."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import GenerativeTransportClassifier, cli, jensen_shannon_divergence, vote_cross_entropy
from gendiffclf.featurizers import SpeakerNormalizer
from gendiffclf.speech import audit, compare, evaluate, read_corpus, train
from gendiffclf.speech.names import VOTE_MEASURES
from gendiffclf.speech.votes import votes_of

from .conftest import QUICK

RATERS = [f"rater_{i}" for i in range(5)]


@pytest.fixture
def rated():
    """120 clips of 6 speakers with a rating of each of 5 raters, and features that tell how probable each label is."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (120, 2))
    logits = np.stack([features[:, 0], features[:, 1], np.zeros(120)], axis=1)
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ratings = np.array([rng.choice(["angry", "calm", "sad"], 5, p=p) for p in proba])
    table = pd.DataFrame(ratings, columns=RATERS)
    return table.assign(path=[f"{i}.wav" for i in range(120)], speaker=[f"s{i % 6}" for i in range(120)]), features


def corpus_of(table, tmp_path, **columns):
    table.to_csv(tmp_path / "clips.csv", index=False)
    return read_corpus(tmp_path / "clips.csv", **columns)


def test_votes_of_raters_and_of_classes_are_read_alike(tmp_path):
    table = pd.DataFrame(
        {
            "path": ["1.wav", "2.wav", "3.wav"],
            "speaker": ["a", "b", "c"],
            "first": ["sad", "sad", ""],
            "second": ["sad", "angry", "angry "],
            "third": ["angry", "", ""],
        }
    )
    corpus = corpus_of(table, tmp_path, raters=["first", "second", "third"])
    assert corpus["votes_angry"].tolist() == [1, 1, 1]
    assert corpus["votes_sad"].tolist() == [2, 1, 0]
    assert corpus["label"].tolist() == ["sad", "angry", "angry"]  # of equally many votes the first by name
    counted = pd.DataFrame({"path": table["path"], "sad": ["2", "1", ""], "angry": [1, 1, 1], "label": "anything"})
    same = corpus_of(counted, tmp_path, votes=["sad", "angry"])
    assert same[["label", "votes_angry", "votes_sad"]].equals(corpus[["label", "votes_angry", "votes_sad"]])
    assert "sad" not in same
    np.testing.assert_allclose(votes_of(corpus), [[1 / 3, 2 / 3], [1 / 2, 1 / 2], [1, 0]])
    assert votes_of(table) is None
    named = table.rename(columns={"first": "value", "second": "variable"})
    same = corpus_of(named, tmp_path, raters=["value", "variable", "third", "value"])
    assert same[["label", "votes_angry", "votes_sad"]].equals(corpus[["label", "votes_angry", "votes_sad"]])
    with pytest.raises(
        ValueError, match=r"labels \['happy'\], for which there are no votes, expected labels among \['angry', 'sad'\]"
    ):
        votes_of(corpus.assign(label=["sad", "angry", "happy"]))
    none_for_happy = corpus.assign(label=["sad", "angry", "happy"], votes_happy=0, votes_fear=0)
    assert votes_of(none_for_happy).columns.tolist() == ["angry", "happy", "sad"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"votes": ["a"], "raters": ["b"]}, r"Got votes=\['a'\] and raters=\['b'\], expected one of them"),
        ({"votes": ["calm"]}, r"Got votes=\['calm'\], expected some of the columns \['path', 'sad', 'angry', 'who'\]"),
        ({"raters": []}, r"Got raters=\[\], expected some of the columns"),
        ({"raters": "first"}, r"Got raters='first', expected a list of names; pass \['first'\]"),
        ({"votes": "sad"}, r"Got votes='sad', expected a list of names"),
        ({"votes": ["sad", "who"]}, "Got 'anna' in the column 'who' of votes, in row 1, expected a number >= 0"),
        ({"votes": ["sad"]}, r"Got 1 of 2 clips without votes \(.*2.wav\), expected at least one for each"),
        ({"votes": ["angry"]}, "Got '-1' in the column 'angry' of votes, in row 1"),
        ({"raters": ["who"], "target": "sad"}, "Got target='sad' with votes, expected one of them"),
    ],
)
def test_wrong_votes(columns, message, tmp_path):
    table = pd.DataFrame({"path": ["1.wav", "2.wav"], "sad": [1, 0], "angry": [-1, 1], "who": ["anna", "ben"]})
    with pytest.raises(ValueError, match=message):
        corpus_of(table, tmp_path, **columns)


def test_votes_are_learnt_from_and_judged_by(rated, tmp_path):
    table, features = rated
    corpus = corpus_of(table, tmp_path, raters=RATERS)
    ours = GenerativeTransportClassifier(estimator="kernel", random_state=0)
    found = evaluate(ours, corpus, features=features, n_folds=3)
    votes = found.predictions[["votes_angry", "votes_calm", "votes_sad"]].to_numpy()
    proba = found.predictions[["p_angry", "p_calm", "p_sad"]].to_numpy()
    assert found.votes.loc["jensen_shannon", "value"] == pytest.approx(jensen_shannon_divergence(votes, proba))
    assert found.votes.loc["cross_entropy", "value"] == pytest.approx(vote_cross_entropy(votes, proba))
    agreed = np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2]
    right = found.predictions["label"] == found.predictions["predicted"]
    assert (~agreed).sum() > 0  # those without a majority are tested too
    assert len(votes) == 120
    assert found.votes.loc["majority_accuracy", "value"] == pytest.approx(right[agreed].mean())
    assert (found.votes["low"] < found.votes["value"]).all()
    assert (found.votes["value"] < found.votes["high"]).all()
    assert "Jensen-Shannon divergence" in str(found)
    found.to_json(tmp_path / "measures.json")
    assert json.loads((tmp_path / "measures.json").read_text())["votes"] == found.votes.to_dict("index")
    # The majority alone says less of the votes.
    majority = evaluate(ours, corpus[["path", "label", "speaker"]], features=features, n_folds=3)
    assert majority.votes is None
    of_majority = majority.predictions[["p_angry", "p_calm", "p_sad"]].to_numpy()
    assert jensen_shannon_divergence(votes, of_majority) > found.votes.loc["jensen_shannon", "value"]
    assert majority.about["corpus_sha256"] != found.about["corpus_sha256"]


def test_labels_of_raters_that_differ_by_case_are_found(tmp_path):
    table = pd.DataFrame(
        {"path": ["1.wav", "2.wav"], "first": ["sad", "angry"], "second": "sad", "third": ["Sad", "angry"]}
    )
    (found,) = audit(
        corpus_of(table.assign(speaker=["a", "b"]), tmp_path, raters=["first", "second", "third"]), sound=False
    ).errors
    assert found.code == "label-variants"
    assert found.message.startswith("'Sad' and 'sad' are labels that differ only by case")
    assert found.rows == ()  # no clip has more votes for the rarer spelling


def test_comparison_by_votes(rated, tmp_path):
    table, features = rated
    corpus = corpus_of(table, tmp_path, raters=RATERS)
    ours = GenerativeTransportClassifier(estimator="kernel", random_state=0)
    of_votes = evaluate(ours, corpus, features=features, n_folds=3)
    plain = corpus[["path", "label", "speaker"]]
    of_majority = evaluate(ours, plain, features=features, n_folds=3)
    found = compare(of_votes, of_majority, measure="jensen_shannon", names=("votes", "majority"))
    votes = of_votes.predictions.filter(like="votes_").to_numpy()
    a, b = (
        jensen_shannon_divergence(votes, e.predictions.filter(like="p_").to_numpy()) for e in (of_votes, of_majority)
    )
    assert found.differences.loc["jensen_shannon"].tolist()[:3] == pytest.approx([a, b, a - b])
    # The bootstrap, speaker by speaker: the same ones for both.
    by_speaker = of_votes.predictions.groupby("speaker").indices
    gaps = [
        jensen_shannon_divergence(votes[rows], of_votes.predictions.filter(like="p_").to_numpy()[rows])
        - jensen_shannon_divergence(votes[rows], of_majority.predictions.filter(like="p_").to_numpy()[rows])
        for rows in by_speaker.values()
    ]  # all speakers have 20 clips
    low, high = found.differences.loc["jensen_shannon", ["low", "high"]]
    assert min(gaps) <= low < np.mean(gaps) < high <= max(gaps)
    assert "Jensen-Shannon divergence" in str(found)
    right = [(e.predictions["predicted"] == e.predictions["label"]).to_numpy() for e in (of_votes, of_majority)]
    agreed = np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2]
    expected = right[0][agreed].mean() - right[1][agreed].mean()
    assert found.differences.loc["majority_accuracy", "difference"] == pytest.approx(expected)
    assert found.as_dict()["differences"]["cross_entropy"]["a"] == pytest.approx(
        of_votes.votes.loc["cross_entropy", "value"]
    )
    # Lower divergence is better, whichever comes first, and from files too.
    of_votes.predictions.to_csv(tmp_path / "votes.csv", index=False)
    of_majority.predictions.to_csv(tmp_path / "majority.csv", index=False)
    turned = compare(
        tmp_path / "majority.csv", tmp_path / "votes.csv", measure="jensen_shannon", names=("majority", "votes")
    )
    assert turned.differences.loc["jensen_shannon", "difference"] == pytest.approx(b - a)
    assert "votes is better than majority" in found.claim
    assert "votes is better than majority" in turned.claim
    with pytest.raises(ValueError, match="Got measure='jensen_shannon' for evaluations without votes, expected one of"):
        compare(of_majority, of_majority, measure="jensen_shannon")
    other = of_votes.predictions.assign(votes_angry=1.0)
    with pytest.raises(ValueError, match="Got a and b with different votes, expected the same"):
        compare(of_votes, other)


def test_labels_that_only_raters_gave_are_compared(rated, tmp_path):
    table, features = rated
    table.loc[::4, "rater_0"] = "bored"
    corpus = corpus_of(table, tmp_path, raters=RATERS)
    corpus = corpus[corpus["label"] != "bored"]
    features = features[corpus.index]
    ours = GenerativeTransportClassifier(estimator="kernel", random_state=0)
    of_votes = evaluate(ours, corpus, features=features, n_folds=3)
    of_majority = evaluate(ours, corpus[["path", "label", "speaker"]], features=features, n_folds=3)
    for a, b in ((of_votes, of_majority), (of_majority, of_votes)):
        found = compare(a, b, measure="jensen_shannon").differences
        for name, each in (("a", a), ("b", b)):
            assert found.loc["uar", name] == pytest.approx(each.pooled["uar"])
    votes = of_votes.predictions.filter(like="votes_").to_numpy()
    proba = of_majority.predictions.reindex(columns=[f"p_{name}" for name in ("angry", "bored", "calm", "sad")])
    assert found.loc["jensen_shannon", "a"] == pytest.approx(jensen_shannon_divergence(votes, proba.fillna(0)))
    assert found.loc["jensen_shannon", "b"] == pytest.approx(of_votes.votes.loc["jensen_shannon", "value"])
    other = of_majority.predictions.rename(columns={"p_calm": "p_happy"})
    with pytest.raises(ValueError, match=r"b with \['angry', 'happy', 'sad'\], expected the same; evaluate both"):
        compare(of_votes, other)


def test_votes_are_in_the_report(rated, tmp_path):
    pytest.importorskip("matplotlib")
    table, features = rated
    corpus = corpus_of(table, tmp_path, raters=RATERS)
    found = evaluate(GenerativeTransportClassifier(**QUICK), corpus, features=features, n_folds=2)
    found.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert ">Against votes</h2>" in text
    votes = votes_of(found.predictions)
    n_tied = (votes.eq(votes.max(axis=1), axis=0).sum(axis=1) > 1).sum()
    assert f"{n_tied} of 120 clips have no majority" in text
    mean = np.tile(votes.mean(), (120, 1))
    for value in (found.votes.loc["jensen_shannon", "value"], jensen_shannon_divergence(votes, mean)):
        assert f"<td>{value:.3f}</td>" in text
    assert f"cross-entropy is {vote_cross_entropy(votes, votes):.3f}" in text
    evaluate(LogisticRegression(), corpus[["path", "label", "speaker"]], features=features).report(tmp_path / "b.html")
    assert "Against votes" not in (tmp_path / "b.html").read_text()


def test_a_class_that_never_has_the_majority_is_learnt(tmp_path):
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (40, 2))
    share = np.where(features[:, 0] > 0, 2, 0)
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(40)], "speaker": [f"s{i % 5}" for i in range(40)]})
    table = table.assign(angry=3, sad=np.where(features[:, 1] > 0, 4, 0), calm=share)
    corpus = corpus_of(table, tmp_path, votes=["angry", "sad", "calm"])
    assert set(corpus["label"]) == {"angry", "sad"}
    found = evaluate(GenerativeTransportClassifier(**QUICK), corpus, features=features, n_folds=2)
    assert found.classes.tolist() == ["angry", "calm", "sad"]
    calm = found.predictions["p_calm"].to_numpy()
    assert calm[share > 0].mean() > calm[share == 0].mean() + 0.1


def test_steps_before_the_classifier_see_each_clip_once(rated, tmp_path):
    table, features = rated
    corpus = corpus_of(table, tmp_path, raters=RATERS)
    pipeline = make_pipeline(SpeakerNormalizer(), StandardScaler(), GenerativeTransportClassifier(**QUICK))
    fitted = train(pipeline, corpus, features=features)
    normalized = SpeakerNormalizer().fit_transform(features, groups=corpus["speaker"])
    np.testing.assert_allclose(fitted[1].mean_, normalized.mean(axis=0), atol=1e-12)
    expected = GenerativeTransportClassifier(**QUICK).fit_votes(
        fitted[1].transform(normalized), votes_of(corpus), groups=corpus["speaker"].to_numpy().astype(str)
    )
    np.testing.assert_allclose(
        fitted[-1].predict_proba(fitted[1].transform(normalized)),
        expected.predict_proba(fitted[1].transform(normalized)),
    )


def test_classifiers_without_fit_votes_learn_from_labels(rated, tmp_path):
    table, features = rated
    corpus = corpus_of(table, tmp_path, raters=RATERS)
    found = evaluate(make_pipeline(StandardScaler(), LogisticRegression()), corpus, features=features, n_folds=2)
    plain = corpus[["path", "label", "speaker"]]
    same = evaluate(make_pipeline(StandardScaler(), LogisticRegression()), plain, features=features, n_folds=2)
    pd.testing.assert_frame_equal(found.intervals, same.intervals)
    assert found.votes.loc["jensen_shannon", "value"] > 0


def test_labels_with_votes_are_their_names(rated, tmp_path):
    table, features = rated
    corpus = corpus_of(table, tmp_path, raters=RATERS)
    numbers = {"angry": 10, "calm": 9, "sad": 2}
    renamed = corpus.rename(columns={f"votes_{label}": f"votes_{number}" for label, number in numbers.items()})
    renamed["label"] = renamed["label"].map(numbers).astype(int)  # as read_csv makes them
    found, expected = (evaluate(LogisticRegression(), t, features=features, n_folds=2) for t in (renamed, corpus))
    assert found.votes.loc["majority_accuracy", "value"] == expected.votes.loc["majority_accuracy", "value"] > 0.5
    found.report(tmp_path / "report.html")


def test_other_columns_that_look_like_votes_are_an_error(tmp_path):
    table = pd.DataFrame({"path": ["a.wav"], "speaker": "x", "sad": 2, "calm": 1, "votes_total": 3})
    with pytest.raises(ValueError, match=r"Got the columns \['votes_total'\] beside the votes .* rename them"):
        corpus_of(table, tmp_path, votes=["sad", "calm"])


@pytest.mark.usefixtures("quick")
def test_votes_from_the_command_line(vowels, tmp_path, capsys):
    labels = vowels["label"].to_numpy()
    table = vowels[["path", "speaker"]].assign(first=labels, second=np.roll(labels, 1), third=labels)
    table.to_csv(tmp_path / "clips.csv", index=False)
    words = [str(tmp_path / "clips.csv"), "--rater-columns", "first,second,third", "--quiet"]
    outputs = ["--output", str(tmp_path / "measures.json"), "--predictions", str(tmp_path / "predictions.csv")]
    assert cli.main(["evaluate", *words, "--n-folds", "2", *outputs]) == 0
    assert "accuracy against the majority" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "measures.json").read_text())["votes"]) == set(VOTE_MEASURES)
    assert pd.read_csv(tmp_path / "predictions.csv").filter(like="votes_").sum(axis=1).eq(3).all()
    assert cli.main(["compare", *[str(tmp_path / "predictions.csv")] * 2, "--measure", "jensen_shannon"]) == 0
    assert "better than" in capsys.readouterr().out
    heard = table["speaker"].isin(["m01", "f02", "m03", "f04"])
    table[heard].to_csv(tmp_path / "clips.csv", index=False)
    assert cli.main(["train", *words, "--output", str(tmp_path / "model")]) == 0
    counts = pd.crosstab(np.arange(18).repeat(3), table[["first", "second", "third"]].to_numpy().ravel())
    counted = pd.concat([table[["path", "speaker"]], counts.set_axis(table.index)], axis=1)
    counted[~heard].to_csv(tmp_path / "clips.csv", index=False)
    words = [str(tmp_path / "clips.csv"), "--votes-columns", ",".join(counts.columns), "--quiet"]
    assert cli.main(["evaluate", *words, "--model", str(tmp_path / "model")]) == 0
    assert "against votes" in capsys.readouterr().out
