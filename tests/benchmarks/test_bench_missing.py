"""Gaps that the benchmark of missing values makes, its record on a small table, and what its page opens with."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from benchmarks import missing
from benchmarks.__main__ import main
from benchmarks.render import BREAK, render


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
    assert (
        losses[missing.CONDITIONS[0]] < losses[missing.CONDITIONS[3]]
    ).all()  # nothing missing is easier than a half
    of_one = [run["log_loss"] for run in record["runs"] if run["model"] == "ours" and run["share"] == 0]
    assert losses.loc["ours", missing.CONDITIONS[0]] == pytest.approx(np.mean(of_one))


def test_the_page_opens_with_the_answer(record, tmp_path):
    (tmp_path / "missing.json").write_text(json.dumps(record))
    lead, rest = render("missing-values", missing.context(tmp_path)).split(BREAK)
    lead, losses = " ".join(lead.split()), missing.mean_losses(record)
    first = (losses.loc["ours"] < losses.loc["logreg"]).sum()
    whole = losses[missing.CONDITIONS[0]]
    assert f"the lowest of 2 models in {first} of 13 cases" in lead
    assert (
        f"nothing is missing {whole['ours']:.3f} (logistic regression, the best other: {whole['logreg']:.3f})" in lead
    )
    assert re.search(r"^\| logistic regression \|( \**\d\.\d{3}\** \|){7}$", rest, re.MULTILINE)


def test_tables_that_a_model_lacks_do_not_count(record):
    runs = [run for run in record["runs"] if (run["model"], run["table"]) != ("ours", "sk_wine")]
    found = missing.mean_losses({**record, "runs": runs})
    other = [run for run in record["runs"] if run["table"] == "sk_breast_cancer"]
    pd.testing.assert_frame_equal(found.sort_index(), missing.mean_losses({**record, "runs": other}).sort_index())
