"""The ablation runs, resumes, and gives a page that says what its numbers allow."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import ablation, runner
from benchmarks.__main__ import main
from benchmarks.ablation import COMBINATIONS, AfterFit, all_parts, choice
from benchmarks.models import configuration
from benchmarks.records import RecordStore
from benchmarks.render import render
from gendiffclf import GenerativeTransportClassifier
from gendiffclf.parameters import check_parameters
from gendiffclf.transport.learned import LearnedPath


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of records of the combination, with a tiny default."""
    folder = tmp_path_factory.mktemp("results") / "ablation"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_warm_up", lambda model: None)
        for name, value in {"max_steps": 3, "n_members": 2, "width": 32, "depth": 1}.items():
            patch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, name, value)
        words = ["ablation", "--tables", "sk_wine", "--splits", "0,1", "--output", str(folder)]
        assert main([*words, "--only", "combination"]) == 0
        sizes = [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))]
        assert main([*words, "--only", "combination"]) == 0
        assert [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))] == sizes
    return folder


def test_every_choice_makes_a_valid_classifier_of_its_own():
    labels = {}
    for part in all_parts().values():
        names = [one.name for one in part.choices]
        assert len(set(names)) == len({one.label for one in part.choices}) == len(names) >= 2
        for one in part.choices:
            check_parameters(one.create().estimator.get_params(deep=False))
            RecordStore(ablation.FOLDER).path(one.label)
            labels[one.label] = str(configuration(one.create()))
    assert len(set(labels.values())) == len(labels)


def test_combinations_are_replaced_after_the_fit(iris, tiny):
    changes = {"": {}} | {name: {"combination": name} for name in COMBINATIONS}
    fitted = {name: AfterFit(tiny(), after).fit(*iris).fitted_ for name, after in changes.items()}
    assert fitted["equal weights"].combination_.weights == (0.5, 0.5)
    assert fitted["equal weights"].combination_.read_outs == fitted[""].combination_.read_outs
    assert fitted["no calibration"].combination_.weights == fitted[""].combination_.weights
    assert fitted["no calibration"].combination_.exponents == (1.0,)
    assert fitted["no logistic regression"].combination_.exponents == (fitted[""].combination_.exponents[0], 0.0)
    found = [classifier.predict_proba(iris[0]) for classifier in fitted.values()]
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_the_page_is_made_from_the_records(records: Path):
    text = render("ablation", ablation.context(records.parent))
    assert "\n## Combination and calibration\n" in text
    assert "## Estimators" not in text  # not measured
    assert "Tables: sk_wine; splits of each: 2." in text
    assert "| equal weights |" in text


def test_records_of_other_defaults_are_refused(records: Path, tmp_path: Path):
    for path in records.glob("*.jsonl"):
        text = path.read_text()
        changed = text.replace('"estimator__max_steps": 3', '"estimator__max_steps": 4')
        (tmp_path / "ablation").mkdir(exist_ok=True)
        (tmp_path / "ablation" / path.name).write_text(changed if path.stem == "default" else text)
    with pytest.raises(ValueError, match=r"'default' with different defaults, expected one difference; delete"):
        ablation.context(tmp_path)


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["ablation", "--only", "luck"]) == 2
    assert "Got part luck, expected some of estimator, combination" in capsys.readouterr().err


def test_labels_tell_parameters():
    assert choice("x").label == "default"
    assert choice("x", {"dropout": 0.5, "path": LearnedPath(sigma=2.0)}, n_steps=4).label == (
        "dropout=0.5+learned+sigma=2.0+then_n_steps=4"
    )
