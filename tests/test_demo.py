"""The demo on one small data set."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import GenerativeTransportClassifier, demo

pytest.importorskip("matplotlib")


def small(seed):
    return GenerativeTransportClassifier(estimator="kernel", random_state=seed)


CLASSIFIERS = {
    "generative transport": small,
    "logistic regression": lambda seed: make_pipeline(StandardScaler(), LogisticRegression()),
}


def test_demo_prints_a_table_and_saves_pictures(tmp_path, capsys):
    rows = demo.run_demo(tmp_path / "new" / "folder", datasets=["wine"], classifiers=CLASSIFIERS)
    printed = capsys.readouterr().out
    assert [row.classifier for row in rows] == list(CLASSIFIERS)
    for word in ("accuracy", "log-loss", "ECE", "seconds", "wine", *CLASSIFIERS):
        assert word in printed
    for name in ("transport.png", "reliability.png"):
        path = tmp_path / "new" / "folder" / name
        assert str(path) in printed
        assert path.read_bytes().startswith(b"\x89PNG")


def test_every_row_is_predicted_by_a_fold_that_left_it_out():
    (row,) = demo.compare(["wine"], {"lr": CLASSIFIERS["logistic regression"]}, n_folds=3)
    assert row.proba.shape == (178, 3)
    np.testing.assert_allclose(row.proba.sum(1), 1)
    assert len(row.held_out) in (59, 60)
    assert row.accuracy > 0.9
    assert 0 < row.log_loss < 0.5
    assert 0 <= row.calibration_error < 0.2


def test_table_names_a_data_set_once():
    rows = list(
        demo.compare(["wine"], {"a": CLASSIFIERS["logistic regression"], "b": CLASSIFIERS["logistic regression"]})
    )
    lines = demo.table(rows).splitlines()
    assert len(lines) == 3
    assert [line.startswith("wine") for line in lines[1:]] == [True, False]


@pytest.mark.parametrize("name", [name for name in demo.CLASSIFIERS if name != "generative transport"])
def test_peers_give_probabilities(name):
    (row,) = demo.compare(["wine"], {name: demo.CLASSIFIERS[name]})
    assert row.accuracy > 0.9


def test_ours_has_default_parameters():
    ours = demo.CLASSIFIERS["generative transport"](7)
    assert ours.get_params() == GenerativeTransportClassifier(random_state=7).get_params()


def test_too_few_folds_are_refused():
    with pytest.raises(ValueError, match="Got n_folds=1, expected an integer >= 2"):
        list(demo.compare(["wine"], n_folds=1))
