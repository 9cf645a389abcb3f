"""The protocol, against scikit-learn's splitters called here once more."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from benchmarks.arff import FURTHER
from benchmarks.data import (
    BUNDLED,
    SAMPLE,
    SOURCES,
    SUBSETS,
    Table,
    chosen_tables,
    load_table,
    outer_splits,
    split_table,
    table_names,
)
from benchmarks.large import LARGE, NEW


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder with one grouped and one ungrouped table."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"))
    frame["target"] = np.arange(120) % 4  # numbers in the file, strings in the table
    (tmp_path / "tabular").mkdir()
    frame.to_csv(tmp_path / "tabular" / "plain.csv.gz", index=False)
    frame.assign(group=np.arange(120) // 10).to_csv(tmp_path / "tabular" / "grouped.csv.gz", index=False)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "loader"), [("sk_digits", load_digits), ("sk_breast_cancer", load_breast_cancer), ("sk_wine", load_wine)]
)
def test_bundled_tables_and_their_splits(name: str, loader):
    X, y = loader(return_X_y=True)
    table = load_table(name)
    assert table.X.dtype == np.float32
    np.testing.assert_array_equal(table.X, X.astype(np.float32))
    np.testing.assert_array_equal(table.y, y.astype(str))
    assert table.groups is None
    expected = list(StratifiedShuffleSplit(3, test_size=0.3, random_state=0).split(X, y))
    for (train, test), (expected_train, expected_test) in zip(outer_splits(table), expected, strict=True):
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(test, expected_test)


def test_tables_of_a_folder_come_before_bundled_ones(data_dir: Path):
    assert table_names() == list(BUNDLED)
    assert table_names(data_dir) == ["grouped", "plain", *BUNDLED]
    table = load_table("plain", data_dir)
    assert table.X.shape == (120, 3)
    assert table.groups is None
    assert set(table.y) == {"0", "1", "2", "3"}


def test_every_table_has_a_source_and_a_kind():
    assert {kind: len(names) for kind, names in SUBSETS.items()} == {"tables": 13, "embeddings": 3, "small": 3}
    assert sorted(name for names in SUBSETS.values() for name in names) == sorted(SOURCES)
    assert set(SAMPLE) < set(SOURCES)


def test_tables_are_chosen_by_name_or_kind(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SUBSETS, "kind", ("plain", "sk_wine"))
    assert chosen_tables(None, data_dir) == table_names(data_dir)
    assert chosen_tables(None, data_dir, ("sk_wine", "elsewhere")) == ["sk_wine"]
    assert chosen_tables("grouped,kind", data_dir) == ["grouped", "plain", "sk_wine"]
    with pytest.raises(ValueError, match="Got table 'nowhere'"):
        chosen_tables("plain,nowhere", data_dir)


def test_groups_stay_whole(data_dir: Path):
    table = load_table("grouped", data_dir)
    assert table.groups is not None
    assert table.X.shape == (120, 3)  # neither target nor group is a feature
    expected = list(StratifiedGroupKFold(3, shuffle=True, random_state=0).split(table.X, table.y, table.groups))
    for (train, test), (_, expected_test) in zip(outer_splits(table), expected, strict=True):
        np.testing.assert_array_equal(test, expected_test)
        assert not set(table.groups[train]) & set(table.groups[test])


@pytest.mark.parametrize("name", ["plain", "grouped", "sk_wine"])
@pytest.mark.parametrize("split", [0, 1, 2])
def test_inner_split_leaves_test_rows_alone(data_dir: Path, name: str, split: int):
    table = load_table(name, data_dir)
    outer, inner = split_table(table, split), split_table(table, split, inner=True)
    train, test, fit, evaluate = outer.train, outer.test, inner.train, inner.test
    assert not set(test) & (set(fit) | set(evaluate))
    assert set(fit) | set(evaluate) == set(train)
    assert not set(fit) & set(evaluate)
    if table.groups is not None:
        assert not set(table.groups[fit]) & set(table.groups[evaluate])


def test_fewer_rows_are_a_choice_of_all():
    whole, some = split_table(load_table("sk_wine")), split_table(load_table("sk_wine"), max_train=30, max_test=20)
    assert (len(some.train), len(some.test)) == (30, 20)
    assert set(some.train) < set(whole.train)
    assert set(some.test) < set(whole.test)
    assert some.fitting[0].shape == (30, 13)
    assert some.evaluation[1].tolist() == load_table("sk_wine").y[some.test].tolist()


def test_digest_tells_content_apart():
    X, y = np.zeros((4, 2), np.float32), np.array(["a", "b", "a", "b"])
    table = Table("t", X, y)
    assert table.digest == Table("other name", X.copy(), y.copy()).digest
    assert table.digest != Table("t", X + 1, y).digest
    assert table.digest != Table("t", X, y[::-1]).digest
    assert table.digest != Table("t", X, y, y).digest


def test_unknown_table_is_refused(data_dir: Path):
    with pytest.raises(ValueError, match=r"Got table 'nowhere', expected one of sk_digits.*--data-dir"):
        load_table("nowhere")
    with pytest.raises(ValueError, match="Got table 'nowhere', expected one of grouped"):
        load_table("nowhere", data_dir)


def test_folder_without_tables_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"without tables, expected a folder with tabular/\*\.csv\.gz"):
        table_names(tmp_path)


ARFF = """@relation few
@attribute size numeric
@attribute colour {red,dark-blue}
@attribute Class {yes,no,rare}
@attribute weight real
@data
"""


def write_arff(path: Path, lines: list[str]) -> Path:
    path.write_text(ARFF + "\n".join(lines), encoding="utf-8")
    return path


def test_arff_files_have_categories_gaps_and_the_classes_with_enough_rows(tmp_path: Path):
    rows = [f"{i},{'red' if i % 3 else '?'},{'yes' if i % 2 else 'no'},{i / 2 if i else '?'}" for i in range(40)]
    write_arff(tmp_path / "few.arff", [*rows, *["1,dark-blue,rare,2"] * 9])
    assert table_names(tmp_path) == ["few", *BUNDLED]
    table = load_table("few", tmp_path)
    assert table.X.dtypes.astype(str).to_dict() == {"size": "float64", "colour": "category", "weight": "float64"}
    assert table.X["colour"].isna().sum() == 14
    assert np.isnan(table.X["weight"][0])
    assert sorted(set(table.y)) == ["no", "yes"]
    (X, y), (X_test, y_test) = (split := split_table(table)).fitting, split.evaluation
    assert X["size"].tolist() == split.train.tolist()
    assert [len(y), len(X_test), len(y_test)] == [28, 12, 12]
    assert split_table(table, inner=True).fitting[0]["size"].isin(split.train).all()
    assert table.digest == Table("other name", table.X.copy(), table.y).digest
    assert table.digest != Table("few", table.X.assign(size=1.0), table.y).digest


def test_an_arff_file_with_a_number_as_target_is_refused(tmp_path: Path):
    text = write_arff(tmp_path / "few.arff", ["1,red,yes,2"]).read_text(encoding="utf-8").replace("Class", "kind")
    (tmp_path / "few.arff").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"few\.arff with the numeric target 'weight', expected a nominal one"):
        load_table("few", tmp_path)


def test_a_large_table_is_read_from_a_clone(tmp_path):
    path = tmp_path / "UCI-Data-Analysis/Adult Dataset/Adult/adult.data"
    path.parent.mkdir(parents=True)
    path.write_text("39, State-gov, ?, <=50K\n50, ?, 7, >50K\n")
    table = load_table("adult", tmp_path)
    assert table.y.tolist() == ["<=50K", ">50K"]
    assert [str(kind) for kind in table.X.dtypes] == ["int64", "category", "float64"]
    assert table.X.isna().to_numpy().tolist() == [[False, False, True], [False, True, False]]
    with pytest.raises(ValueError, match="Got table 'bank', expected one of adult, sk_digits"):
        load_table("bank", tmp_path)


def test_labels_and_identifiers_of_large_tables(tmp_path):
    files = {
        "pfm-prework-csv/HR_comma_sep.csv": "level,left,salary\n0.5,1,low\n0.1,0,high\n",
        "telecom_churn_model/Churn_Modelling.csv": "RowNumber,CustomerId,Surname,Age,Exited\n1,7,Hill,42,1\n2,8,Onio,41,0\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    hr, churn = (load_table(name, tmp_path) for name in ("hr", "churn"))
    assert (hr.y.tolist(), list(hr.X)) == (["1", "0"], ["level", "salary"])
    assert (churn.y.tolist(), list(churn.X)) == (["1", "0"], ["Age"])


def test_large_tables_have_names_of_their_own():
    assert not set(LARGE) & {*SOURCES, *FURTHER}
    assert set(NEW) < set(LARGE)


def test_further_tables_are_none_of_the_others():
    assert not {name.replace(".", "_") for name in FURTHER} & set(SOURCES)
