"""Names of one speaker that spreadsheets write in several ways."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from gendiffclf.speech import audit, evaluate, evaluate_fitted, train

from .conftest import codes


@pytest.mark.parametrize(
    "names", [("01", "1"), ("1", "1.0"), ("spk007", "spk7"), ("p1_01", "P1-1"), ("a00", "a0"), ("010", "10")]
)
def test_numbers_of_other_forms_are_one_voice(names, table):
    corpus, features = table
    corpus = corpus.assign(speaker=np.where(corpus["speaker"] == "s0", names[0], corpus["speaker"]))
    corpus.loc[corpus.index[corpus["speaker"] == names[0]][::2], "speaker"] = names[1]
    with pytest.warns(
        UserWarning, match="speaker-variants: .*differ only by .*leading zeros or a final .0; they count"
    ):
        found = evaluate(LogisticRegression(), corpus, features=features)
    assert found.predictions["voice"].nunique() == 8
    assert found.folds["n_test_speakers"].sum() == 9
    assert not found.shared_speakers


@pytest.mark.parametrize("names", [("1", "10"), ("s1", "s11"), ("1", "1.5"), ("s0", "s1"), ("100", "10")])
def test_other_numbers_are_other_voices(names):
    table = pd.DataFrame({"path": list("1234"), "label": list("abab"), "speaker": np.repeat(names, 2)})
    found = audit(table, sound=False)
    assert "speaker-variants" not in codes(found)
    assert len(set(found.voices)) == 2


def test_labels_with_leading_zeros_are_others():
    table = pd.DataFrame({"path": list("1234"), "label": ["01", "1"] * 2, "speaker": list("aabb")})
    assert "label-variants" not in codes(audit(table, sound=False))


def test_numbers_of_learnt_speakers_match_their_text(vowels, pipeline):
    vowels["speaker"] = vowels["speaker"].map({name: f"0{i}" for i, name in enumerate(vowels["speaker"].unique())})
    fitted = train(pipeline, vowels)
    with (
        pytest.warns(UserWarning, match=r"6 of 6 speakers are also in the model's training data \(0, 1, 2, …\)"),
        pytest.warns(UserWarning, match="18 of 18 clips"),
    ):
        evaluate_fitted(fitted, vowels.assign(speaker=vowels["speaker"].astype(int)))
