"""Labels of a table beside the classes of a model that was trained on labels of another type."""

import numpy as np
import pytest

from gendiffclf.speech import read_corpus
from gendiffclf.speech.class_labels import with_classes
from gendiffclf.speech.evaluation import evaluate_fitted
from gendiffclf.speech.training import train

WORDS = ["heed", "hod"]


@pytest.fixture
def pair(vowels):
    return vowels[vowels["label"].isin(WORDS)].reset_index(drop=True)


@pytest.mark.filterwarnings("ignore:Got .* in the model's training data", "ignore:Got a corpus in which")
@pytest.mark.parametrize("classes", [[0, 1], [0.0, 1.0], [False, True]])
def test_a_model_of_numbers_is_evaluated_on_their_table(classes, pair, pipeline, tmp_path):
    numbered = pair.assign(label=pair["label"].map(dict(zip(WORDS, classes, strict=True))))
    numbered.to_csv(tmp_path / "c.csv", index=False)
    fitted = train(pipeline, numbered)
    from_table = evaluate_fitted(fitted, read_corpus(tmp_path / "c.csv"))
    assert from_table.classes.tolist() == classes
    np.testing.assert_array_equal(from_table.confusions, evaluate_fitted(fitted, numbered).confusions)


@pytest.mark.parametrize(
    ("classes", "given", "expected"),
    [
        ([0, 1], ["1", "0"], [1, 0]),
        ([0.0, 1.0], ["1", "0"], [1.0, 0.0]),
        ([False, True], ["TRUE", "false"], [True, False]),
        (["0", "1"], [1, 0], ["1", "0"]),
        (["01", "02"], [2.0, 1.0], ["02", "01"]),
        (["False", "True"], [True, False], ["True", "False"]),
        # Nothing is guessed.
        ([0, 1], ["1", "2"], None),
        ([0, 1], ["1", "01"], None),
        (["1", "01", "2"], [1, 2], None),
        (["sad", "calm"], ["Sad", "Calm"], None),
        ([0, 1], [1, 5], None),
    ],
)
def test_labels_that_stand_for_classes(classes, given, expected, pair):
    corpus = pair.iloc[:2].assign(label=given)
    found = with_classes(corpus, np.array(classes))["label"].tolist()
    assert found == (expected or given)
    assert type(found[0]) is type((expected or given)[0])


def test_votes_keep_their_labels(pair):
    corpus = pair.iloc[:2].assign(label=["0", "1"], votes_0=[1, 0], votes_1=[0, 1])
    assert with_classes(corpus, np.array([0, 1]))["label"].tolist() == ["0", "1"]
