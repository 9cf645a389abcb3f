"""Measures against scikit-learn, intervals against brute force and by their coverage, comparison, records, report."""

import html
import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, precision_recall_fscore_support, recall_score
from sklearn.svm import LinearSVC

from gendiffclf import cli, expected_calibration_error
from gendiffclf.speech import audit, compare, evaluate
from gendiffclf.speech.intervals import interval, resample
from gendiffclf.speech.measures import Tally
from gendiffclf.speech.names import MEASURES
from gendiffclf.speech.provenance import describe_run
from gendiffclf.speech.tables import GROUP_COLUMNS, draw_measures


@pytest.fixture
def table():
    """96 clips of 3 labels by 8 speakers of two genders, and features that tell labels with some error."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat(["angry", "calm", "sad"], 32))
    number = np.tile(np.arange(8), 12)
    corpus = pd.DataFrame(
        {
            "path": [f"{i}.wav" for i in range(96)],
            "label": label,
            "speaker": [f"s{i}" for i in number],
            "gender": np.where(number % 2, "female", "male"),
            "year": 1950 + 5 * np.arange(96) % 60,
        }
    )
    codes = np.unique(label, return_inverse=True)[1]
    noise = np.where(corpus["gender"] == "male", 1.5, 0.5)[:, None]
    return corpus, np.eye(3)[codes] + noise * rng.normal(0, 1, (96, 3))


@pytest.fixture
def found(table):
    return evaluate(LogisticRegression(), table[0], features=table[1])


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


def test_tallies_are_the_measures_of_scikit_learn():
    rng = np.random.default_rng(1)
    classes = np.array(["a", "b", "c", "d"])
    truth, unit = rng.choice(classes, 200), rng.integers(0, 5, 200)
    truth[unit == 0] = "b"  # a unit of one class
    proba = rng.dirichlet(np.ones(4) * 0.5, 200)
    predicted = classes[proba.argmax(1)]
    tally = Tally.of(truth, predicted, proba, classes, unit, 5)
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
        tally = Tally.of(np.full(1200, "a"), predicted, np.full((1200, 2), np.nan), classes, unit, 6)
        (drawn,) = resample([tally], trial, 400)
        values = drawn.measures()["wa"]
        low, high = interval(values, 6)
        held.append(low <= 0.6 <= high)
        plain.append(np.quantile(values, 0.025) <= 0.6 <= np.quantile(values, 0.975))
    assert 0.9 < np.mean(held) <= 1
    assert np.mean(plain) < np.mean(held)
    assert np.isnan(interval(np.array([0.5, 0.6]), 1)).all()


def test_the_interval_of_a_calibration_error_holds_it():
    """A sample drawn with replacement has a larger ECE, which put the value below its own interval."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([1, 1], 120)
    truth = (rng.random(120) < proba[:, 1]).astype(int)
    classes, unit = np.array([0, 1]), np.repeat(np.arange(12), 10)
    tally = Tally.of(truth, proba.argmax(axis=1), proba, classes, unit, 12)
    (drawn,) = resample([tally], 0)
    ((value, several),) = draw_measures([tally], 0)
    low, high = interval(several["ece"], 12)
    assert low < value["ece"] < high
    assert low > 0
    assert np.mean(drawn.measures()["ece"]) > 1.1 * value["ece"]
    assert np.mean(several["ece"]) == pytest.approx(value["ece"])
    np.testing.assert_array_equal(several["uar"], drawn.measures()["uar"])


def test_tables_by_speaker_class_and_group(table, found):
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
    assert gap["low"] < gap["difference"] < gap["high"]
    assert predictions["confidence"].to_numpy() == pytest.approx(
        predictions[["p_angry", "p_calm", "p_sad"]].max(axis=1).to_numpy()
    )
    assert predictions["score"].isna().all()  # logistic regression has no score_samples
    corpus, features = table
    years = evaluate(LogisticRegression(), corpus, features=features, groups=["year"]).by_group
    assert len(years) == 4  # quarters
    assert years["value"][0].startswith("1950 to ")
    assert years["n_clips"].sum() == 96
    rooms = corpus.assign(room=np.where(corpus["gender"] == "male", "9", "10"))
    assert evaluate(LogisticRegression(), rooms, features=features, groups=["room"]).gaps["a"][0] == "9"
    with pytest.raises(ValueError, match=r"Got groups=\['height'\], expected columns"):
        evaluate(LogisticRegression(), corpus, features=features, groups=["height"])
    for name in ("fold", "p_angry"):
        with pytest.raises(ValueError, match=f"expected no '{name}', which is a column of the results; rename"):
            evaluate(LogisticRegression(), corpus.assign(**{name: "x"}), features=features, groups=[name])
    assert evaluate(LogisticRegression(), rooms.rename(columns={"room": 7}), features=features, groups=[7]).groups == (
        7,
    )
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
    with pytest.raises(ValueError, match="12 of them in one only, expected the same clips"):
        compare(found, found.predictions.query("speaker != 's0'"))
    with pytest.raises(ValueError, match="different labels for 96 of 96"):
        compare(found, found.predictions.assign(label="angry", predicted="calm").assign(label="?"))
    with pytest.raises(ValueError, match="Got b without path, fold, voice"):
        compare(found, pd.DataFrame({"label": ["a"], "predicted": ["a"]}))
    with pytest.raises(ValueError, match="which is not a file"):
        compare(found, "nowhere.csv")


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


def test_reports_without_probabilities_leave_their_measures_out(table, tmp_path):
    pytest.importorskip("matplotlib")
    corpus, features = table
    evaluate(LinearSVC(), corpus, features=features).report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The classifier gives no probabilities." in text
    assert ">macro-F1</th>" in text
    assert ">ECE</th>" not in text
    assert ">log-loss</th>" not in text


def test_a_class_without_mistakes_is_taken_for_no_other(table, tmp_path):
    pytest.importorskip("matplotlib")
    corpus, features = table
    sure = features + 100 * (corpus["label"] == "calm").to_numpy()[:, None]
    found = evaluate(LogisticRegression(), corpus, features=sure)
    assert found.by_class.set_index("label")["most_often_taken_for"].isna().tolist() == [False, True, False]
    found.report(tmp_path / "report.html")
    assert ">nan<" not in (tmp_path / "report.html").read_text(encoding="utf-8")


class Page(html.parser.HTMLParser):
    """Counts what a screen reader needs, and what would need a network."""

    def __init__(self):
        super().__init__()
        self.ids, self.tags, self.unlabelled, self.links = [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "svg" and not (given.get("role") == "img" and given.get("aria-label")):
            self.unlabelled.append(tag)
        if tag == "th" and "scope" not in given:
            self.unlabelled.append(tag)
        self.links += [given[name] for name in ("src", "href") if name in given and not given[name].startswith("#")]


def test_a_report_is_one_accessible_file(table, tmp_path):
    pytest.importorskip("matplotlib")
    corpus, features = table
    corpus["path"] = "<b>&" + corpus["path"]
    layered = np.stack([features, features[:, ::-1]], axis=1)
    from gendiffclf import GenerativeTransportClassifier

    classifier = GenerativeTransportClassifier(estimator="kernel", random_state=0)
    found = evaluate(classifier, corpus, features=layered, n_folds=2)
    assert found.layer_weights.shape == (2, 2)
    found.report(tmp_path / "report.html", title="A <title>", pictures=tmp_path / "pictures")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.links
    assert not page.unlabelled
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 4
    assert page.tags.count("h1") == page.tags.count("main") == 1
    assert (
        page.tags.count("table")
        == text.count('<table aria-labelledby="table-')
        == text.count('class="caption" id="table-')
    )
    assert "<b>" not in text
    assert "A &lt;title&gt;" in text
    for name in (
        "Audit of the corpus",
        "Confusion matrix",
        "Speakers",
        "Groups",
        "Layers",
        "Most confident errors",
        "How it was made",
    ):
        assert f">{name}</h2>" in text
    assert f"UAR {found.pooled['uar']:.3f}" in text
    assert not re.search(r"https?://(?!www\.w3\.org)", text.split("How it was made</h2>")[0])
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        f"{name}.svg" for name in ("confusion", "speakers", "groups", "reliability", "layers")
    }


SCRIPT = """
// Ratio of luminances of every text and what is behind it, with what is half transparent laid over what is below.
const parts = text => text.match(/[\\d.]+/g).map(Number);
const light = c => [.2126, .7152, .0722].reduce((sum, w, i) => sum + w * (c[i] / 255 <= .04045 ? c[i] / 255 / 12.92
  : ((c[i] / 255 + .055) / 1.055) ** 2.4), 0);
onload = () => {
  const page = frames[0].document, view = page.defaultView;
  const under = e => {
    if (!e) return [255, 255, 255];
    const [r, g, b, alpha = 1] = parts(view.getComputedStyle(e).backgroundColor);
    const below = alpha < 1 ? under(e.parentElement) : [0, 0, 0];
    return [r, g, b].map((c, i) => alpha * c + (1 - alpha) * below[i]);
  };
  const spoken = [...page.querySelectorAll("body *:not(svg *)")].filter(e =>
    [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()));
  const ratios = spoken.map(e => {
    const two = [light(parts(view.getComputedStyle(e).color)), light(under(e))];
    return (Math.max(...two) + .05) / (Math.min(...two) + .05);
  });
  const back = view.getComputedStyle(page.body).backgroundColor;
  document.title = [page.documentElement.scrollWidth, Math.min(...ratios).toFixed(2), light(parts(back)).toFixed(2)].join(" ");
};
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1300, "light"), (390, "dark")])
def test_a_report_fits_the_window_and_the_colours_of_a_browser(found, tmp_path, width, scheme):
    pytest.importorskip("matplotlib")
    found.report(tmp_path / "report.html")
    # In a frame, since a window of the browser has a least width.
    report = html.escape((tmp_path / "report.html").read_text())
    frame = f'<iframe srcdoc="{report}" style="border:0" width="{width}" height="20000"></iframe>'
    page = f'<!DOCTYPE html><html style="color-scheme: {scheme}"><title></title><script>{SCRIPT}</script>{frame}'
    (tmp_path / "frame.html").write_text(page)
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    shown = subprocess.run(
        [*command, f"file://{tmp_path}/frame.html"], capture_output=True, text=True, timeout=120, check=True
    )
    wide, contrast, background = map(float, re.search(r"<title>([^<]*)</title>", shown.stdout)[1].split())
    assert wide == width
    assert contrast >= 4.5
    assert background == 1 if scheme == "light" else background < 0.05


@pytest.mark.usefixtures("quick")
def test_from_the_command_line(clip_folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    words = ["evaluate", str(clip_folder), "--pattern", "{speaker}/{label}_*.wav", "--n-folds", "2", "--quiet"]
    for name, settings in {"many": [], "few": ["--set", "featurizer__n_mels=3"]}.items():
        outputs = ["--predictions", str(tmp_path / f"{name}.csv"), "--output", str(tmp_path / f"{name}.json")]
        assert cli.main([*words, *settings, *outputs, "--report", str(tmp_path / "report.html")]) == 0
    recorded = json.loads((tmp_path / "few.json").read_text())["about"]
    assert recorded["command"].startswith("gendiffclf evaluate ")
    assert recorded["pipeline"][0]["parameters"]["n_mels"] == 3
    assert "<h2" in (tmp_path / "report.html").read_text()
    capsys.readouterr()
    arguments = ["compare", str(tmp_path / "many.csv"), str(tmp_path / "few.csv")]
    assert cli.main([*arguments, "--output", str(tmp_path / "compared.json")]) == 0
    assert "exact McNemar test" in capsys.readouterr().out
    assert json.loads((tmp_path / "compared.json").read_text())["names"] == ["many", "few"]
    with pytest.raises(SystemExit):
        cli.main([*words, "--pictures", str(tmp_path / "p")])
    assert "without --report" in capsys.readouterr().err
