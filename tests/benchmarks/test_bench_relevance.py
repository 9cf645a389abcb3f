"""The record of features that do not matter, and its section."""

import json

import numpy as np
import pytest

from benchmarks import relevance
from benchmarks.__main__ import main


def test_a_record_and_its_section(tmp_path):
    output = tmp_path / "relevance.json"
    words = [
        "--n-features",
        "5,8",
        "--n-train",
        "60",
        "--draws",
        "2",
        "--models",
        "logreg,extratrees",
        "--output",
        str(output),
    ]
    assert main(["relevance", *words]) == 0
    record = json.loads(output.read_text())
    assert len(record["runs"]) == 3 * 2 * 2 * 2
    found = relevance.context(tmp_path)
    of_sum = found["tables"]["sum of three"]
    assert of_sum["columns"] == ["of 5 features", "of 8 features"]
    assert [row[0] for row in of_sum["rows"]] == ["logistic regression", "extra trees"]
    chosen = [r for r in record["runs"] if (r["kind"], r["n_features"], r["model"]) == ("sum of three", 5, "logreg")]
    accuracy, loss = (np.mean([r[name] for r in chosen]) for name in ("accuracy", "log_loss"))
    assert of_sum["rows"][0][1] == f"{100 * accuracy:.1f}, {loss:.3f}"
    assert accuracy > 0.8
    assert (found["first"], found["compared"]) == (0, 6)
    assert relevance.context(tmp_path / "none") == {}


def test_three_features_decide():
    X, y = relevance.drawn("sum of three", 4000, 6, 0)
    again, _ = relevance.drawn("sum of three", 4000, 6, 0)
    np.testing.assert_array_equal(X, again)
    slopes = [np.corrcoef(column, y)[0, 1] for column in X.T]
    assert min(slopes[0], slopes[1], -slopes[2]) > 0.3
    assert np.abs(slopes[3:]).max() < 0.06
    assert y.mean() == pytest.approx(0.5, abs=0.03)


def test_an_unknown_model_is_named(capsys):
    assert main(["relevance", "--models", "nobody", "--n-train", "20"]) == 2
    assert "Got model 'nobody'" in capsys.readouterr().err
