"""Reports of evaluations: one accessible file, what it leaves out, its look in a browser, and the command line."""

import html
import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from gendiffclf import cli
from gendiffclf.speech import evaluate


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


def test_dollar_signs_in_names_are_no_formulas(table, tmp_path):
    pytest.importorskip("matplotlib")
    corpus, features = table
    odd = {name: "$\\" + corpus[name].astype(str) + "$" for name in ("label", "speaker", "gender")}
    found = evaluate(LogisticRegression(), corpus.assign(**odd), features=features)
    found.report(tmp_path / "report.html", pictures=tmp_path / "pictures")
    for picture, name in (("confusion", r"$\angry$"), ("speakers", r"$\s0$"), ("groups", r"gender: $\female$")):
        assert f">{name}</text>" in (tmp_path / "pictures" / f"{picture}.svg").read_text(encoding="utf-8")


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
    for name, settings in {"many": [], "few": ["--set", "featurizer__n_mfcc=3"]}.items():
        outputs = ["--predictions", str(tmp_path / f"{name}.csv"), "--output", str(tmp_path / f"{name}.json")]
        assert cli.main([*words, *settings, *outputs, "--report", str(tmp_path / "report.html")]) == 0
    recorded = json.loads((tmp_path / "few.json").read_text())["about"]
    assert recorded["command"].startswith("gendiffclf evaluate ")
    assert recorded["pipeline"][0]["parameters"]["n_mfcc"] == 3
    assert "<h2" in (tmp_path / "report.html").read_text()
    capsys.readouterr()
    arguments = ["compare", str(tmp_path / "many.csv"), str(tmp_path / "few.csv")]
    assert cli.main([*arguments, "--output", str(tmp_path / "compared.json")]) == 0
    assert "exact McNemar test" in capsys.readouterr().out
    assert json.loads((tmp_path / "compared.json").read_text())["names"] == ["many", "few"]
    with pytest.raises(SystemExit):
        cli.main([*words, "--pictures", str(tmp_path / "p")])
    assert "without --report" in capsys.readouterr().err
