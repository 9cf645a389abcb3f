"""Gaps that the benchmark of missing values makes, its record on a small table, and what its page opens with."""

import json
import re

import numpy as np
import pytest

from benchmarks import missing
from benchmarks.__main__ import main
from benchmarks.data import load_table
from benchmarks.readme import BEGIN, END, write_sections


@pytest.mark.parametrize("share", missing.SHARES)
def test_gaps_at_random_are_everywhere_alike(share):
    X = np.random.default_rng(0).normal(size=(10_000, 12))
    gaps = np.isnan(missing.with_gaps(X, X, share, "random", 0))
    np.testing.assert_allclose(gaps.mean(0), share, atol=0.02)
    np.testing.assert_allclose(gaps[X[:, 1] > 0, 1].mean(), share, atol=0.02)
    assert not gaps.all(axis=1).any()


@pytest.mark.parametrize("share", missing.SHARES)
def test_gaps_by_value_grow_with_the_rank(share):
    X = np.random.default_rng(0).normal(size=(10_000, 12))
    found = missing.with_gaps(X, X, share, "value", 0)
    gaps, rank = np.isnan(found)[:, 1], X[:, 1].argsort().argsort() / len(X)
    for low in (0, 0.25, 0.5, 0.75):
        within = (rank >= low) & (rank < low + 0.25)
        np.testing.assert_allclose(gaps[within].mean(), 2 * share * (low + 0.125), atol=0.03)
    np.testing.assert_array_equal(found[:, 1][~gaps], X[:, 1][~gaps].astype(np.float32))


def test_rows_of_a_table():
    table = load_table("sk_wine", None)
    train, test = missing.some_rows(table, 30, 20)
    assert (len(train), len(test)) == (30, 20)
    inner_train, inner_test = missing.some_rows(table, 1000, 1000, inner=True)
    whole, left_out = missing.some_rows(table, 1000, 1000)
    assert {*inner_train, *inner_test} == {*whole}
    assert not {*left_out} & {*inner_test}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "missing.json"
    words = [
        "--tables",
        "sk_wine,sk_breast_cancer",
        "--models",
        "logreg,svc_rbf",
        "--max-train",
        "60",
        "--max-test",
        "40",
    ]
    assert main(["missing", *words, "--output", str(path)]) == 0
    found = json.loads(path.read_text())
    runs = [{**run, "model": "ours"} if run["model"] == "svc_rbf" else run for run in found["runs"]]
    return {**found, "runs": runs}


def test_record(record):
    assert len(record["runs"]) == 2 * 2 * len(missing.CONDITIONS)
    assert {(run["n_train"], run["n_test"]) for run in record["runs"]} == {(60, 40)}
    losses = missing.mean_losses(record)
    assert all(values[0] < values[3] for values in losses.values())  # nothing missing is easier than a half of all
    of_one = [run["log_loss"] for run in record["runs"] if run["model"] == "ours" and run["share"] == 0]
    assert losses["ours"][0] == pytest.approx(np.mean(of_one))


def test_the_page_opens_with_the_answer(record, tmp_path):
    page = tmp_path / missing.PAGE
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\ntext\n\n{BEGIN}\n{END}\n")
    (tmp_path / "missing.json").write_text(json.dumps(record))
    write_sections(tmp_path / "missing.json", page, missing.lead_text, missing.section)
    text, losses = page.read_text(), missing.mean_losses(record)
    lead = " ".join(text[: text.index(END)].split())
    first = sum(ours < other for ours, other in zip(*(losses[name] for name in ("ours", "logreg")), strict=True))
    assert f"the lowest of 2 models in {first} of 13 cases" in lead
    assert (
        f"nothing is missing {losses['ours'][0]:.3f} (logistic regression, the best other: {losses['logreg'][0]:.3f})"
        in lead
    )
    assert "\ntext\n" in text
    assert "old" not in text
    assert re.search(r"^\| logistic regression \|( \**\d\.\d{3}\** \|){7}$", text[text.index(END) :], re.MULTILINE)


def test_a_page_with_too_few_marks_stays_as_it_is(record, tmp_path):
    page, text = tmp_path / missing.PAGE, f"{BEGIN}\n{END}\n"
    page.write_text(text)
    (tmp_path / "missing.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"without the marks .*, expected 2 of each, in turn; add them"):
        write_sections(tmp_path / "missing.json", page, missing.lead_text, missing.section)
    assert page.read_text() == text


def test_tables_that_a_model_lacks_do_not_count(record):
    runs = [run for run in record["runs"] if (run["model"], run["table"]) != ("ours", "sk_wine")]
    assert missing.tables_of({**record, "runs": runs}) == ["sk_breast_cancer"]
