"""The demo on one small data set of scikit-learn's, and on files with all that files have."""

import re

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from gendiffclf import GenerativeTransportClassifier, demo
from gendiffclf.demo import comparison, datasets, report
from gendiffclf.demo.comparison import OURS, Comparison

pytest.importorskip("matplotlib")
pd = pytest.importorskip("pandas")

SMALL = {
    OURS: lambda seed: GenerativeTransportClassifier(estimator="kernel", random_state=seed),
    "logistic regression": demo.CLASSIFIERS["logistic regression"],
}


@pytest.fixture
def small(monkeypatch):
    """Two quick classifiers."""
    monkeypatch.setattr(comparison, "CLASSIFIERS", SMALL)


@pytest.fixture
def messy(tmp_path):
    """A file with gaps, texts, groups, a rare class, and columns that are no use."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    table = pd.DataFrame(
        {
            "id": [f"row {i}" for i in range(200)],
            "size": rng.normal(size=200) + 2 * y,
            "colour": np.array(["red", "blue"])[y],
            "open": rng.random(200) < 0.5,
            "constant": 1,
            "patient": rng.integers(0, 12, 200),
            "diagnosis": np.array(["flu", "cold"])[y],
        }
    )
    table.loc[3, "diagnosis"] = None
    table.loc[4, "diagnosis"] = "plague"
    table.loc[5, "size"] = np.inf
    table.loc[10, "patient"] = None
    table.loc[6:9, ["size", "colour"]] = None
    path = tmp_path / "messy.csv"
    table.to_csv(path, index=False)
    return path


@pytest.mark.usefixtures("small")
def test_demo_says_what_comes_shows_a_table_and_what_to_do_next(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "EXAMPLES", ["wine", "breast cancer"])
    rows = demo.run_demo(tmp_path / "new" / "folder", n_folds=2)
    printed = capsys.readouterr().out
    assert [row.classifier for row in rows] == 2 * list(SMALL)
    assert printed.startswith("Comparing")
    for word in (*report.HEADER, "wine", *SMALL, "What next: ", "gendiffclf demo my.csv --target"):
        assert word in printed
    page = (tmp_path / "new" / "folder" / "report.html").read_text()
    assert page.count("<svg") == 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.usefixtures("small")
def test_a_file_is_compared_and_its_suggestion_runs(messy, tmp_path, capsys, monkeypatch):
    rows = demo.run_demo(tmp_path / "out", path=messy, target="diagnosis", groups="patient", n_folds=2)
    assert rows[0].y.tolist().count("flu") + rows[0].y.tolist().count("cold") == 197
    printed = capsys.readouterr().out
    for said in (
        "2 rows without diagnosis or patient were left",
        "'plague'",
        "Infinite",
        "'constant'",
        "'id'",
        "Highest accuracy: ",
    ):
        assert said in printed
    assert "messy.csv" in (tmp_path / "out" / "report.html").read_text()
    code = "\n".join(line.strip() for line in printed.partition("continue with this one:\n")[2].splitlines())
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code.replace("random_state=0", "estimator='kernel'"), "suggestion", "exec"), names)
    assert (tmp_path / "model.safetensors").exists()
    assert names["X"].columns.tolist() == ["size", "colour", "open"]


def test_a_table_is_read_with_what_was_left_out(messy):
    data = datasets.read_table(messy, "diagnosis", "patient", n_folds=2)
    assert data.X.columns.tolist() == ["size", "colour", "open"]
    assert set(data.dropped) == {"id", "constant", "patient", "diagnosis"}
    assert data.X.index[3:5].tolist() == [5, 6]
    assert np.isnan(data.X.loc[5, "size"])
    assert set(data.y) == {"flu", "cold"}
    assert len(data.groups) == len(data.y) == len(data.X) == 197


def test_rows_beyond_the_limit_are_sampled(messy):
    data = datasets.read_table(messy, "diagnosis", max_rows=30)
    assert len(data.y) == 30
    assert any("random sample of 30 of 199 rows" in note for note in data.notes)


def test_classes_are_frequent_among_the_sampled_rows(tmp_path):
    path = tmp_path / "rare.csv"
    labels = ["common", "usual"] * 497 + ["rare"] * 6
    path.write_text("x,kind\n" + "".join(f"{i / 7},{label}\n" for i, label in enumerate(labels)))
    data = datasets.read_table(path, "kind", max_rows=100)
    assert set(data.y) == {"common", "usual"}
    assert any("left out: 'rare'" in note for note in data.notes)
    assert (
        len(datasets.read_table(path, "kind", max_rows=999).y) == 999
    )  # fewer rows are left out than there are classes


@pytest.mark.parametrize(
    ("target", "groups", "options", "message"),
    [
        ("nothing", None, {}, "Got target='nothing', expected a column of .*: 'id', 'size'"),
        ("diagnosis", "nobody", {}, "Got groups='nobody', expected a column"),
        ("diagnosis", "diagnosis", {}, "Got groups='diagnosis', which is also the target"),
        ("diagnosis", None, {"n_folds": 80}, "Got 0 classes with at least 160 rows in column 'diagnosis'"),
        ("diagnosis", None, {"max_rows": 0}, "Got max_rows=0, expected an integer >= 1"),
    ],
)
def test_wrong_columns_and_numbers_are_refused(messy, target, groups, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.read_table(messy, target, groups, **options)


def test_a_quantity_is_no_class(tmp_path):
    path = tmp_path / "prices.csv"
    pd.DataFrame({"x": range(200), "price": np.linspace(0, 1, 200)}).to_csv(path, index=False)
    with pytest.raises(ValueError, match="Got target='price' of 200 different numbers, expected at most 100 classes"):
        datasets.read_table(path, "price")
    pd.DataFrame({"x": range(90), "price": [0.5, 1.5, 2] * 30}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"Got target='price' with the number 0\.5, expected classes; make them"):
        datasets.read_table(path, "price")


def test_row_numbers_are_no_features(tmp_path):
    path = tmp_path / "indexed.csv"
    pd.DataFrame({"x": [1, 2, 3, 5, 6] * 4, "y": [0, 1] * 10}).to_csv(path)  # with its index
    data = datasets.read_table(path, "y")
    assert data.X.columns.tolist() == ["x"]
    assert data.dropped == ("Unnamed: 0", "y")
    assert "Columns of row numbers were left out: 'Unnamed: 0'." in data.notes


def test_a_mark_in_some_rows_is_a_feature(tmp_path):
    path = tmp_path / "marks.csv"
    y = np.arange(60) % 2
    columns = {"mark": np.where(y, "x", ""), "fee": np.where(y, 5.0, np.nan), "same": "x", "empty": np.nan, "y": y}
    pd.DataFrame(columns).to_csv(path, index=False)
    data = datasets.read_table(path, "y")
    assert data.X.columns.tolist() == ["mark", "fee"]
    assert "Columns with a single value were left out: 'same', 'empty'." in data.notes
    for create in SMALL.values():
        assert create(0).fit(data.X, data.y).score(data.X, data.y) == 1


@pytest.mark.usefixtures("small")
def test_a_class_may_be_called_none(tmp_path, capsys, monkeypatch):
    path = tmp_path / "names.csv"
    x = [*range(40, 50), ""] * 4
    cells = zip(x, ["None", "NA", "mild", ""] * 11, ["null", "ward", "house"] * 15, strict=False)
    path.write_text("x,grade,place\n" + "".join(f"{a},{b},{c}\n" for a, b, c in cells))
    data = datasets.read_table(path, "grade", "place", n_folds=2)
    assert {name: data.y.tolist().count(name) for name in set(data.y)} == {"None": 11, "NA": 11, "mild": 11}
    assert set(data.groups) == {"null", "ward", "house"}
    assert data.X["x"].isna().sum() == 3  # in features, gaps are as before
    assert datasets.WORDS in data.notes
    assert "11 rows without grade or place were left out." in data.notes
    demo.run_demo(tmp_path, path=path, target="grade", n_folds=2)
    code = "\n".join(line.strip() for line in capsys.readouterr().out.partition("with this one:\n")[2].splitlines())
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code.replace("random_state=0", "estimator='kernel'"), "suggestion", "exec"), names)
    assert names["classifier"].classes_.tolist() == ["NA", "None", "mild"]


@pytest.mark.parametrize(("first", "kept"), [(0, False), (1, False), (2, True), (1990, True), (-1, True)])
def test_only_row_numbers_from_0_or_1_are_left_out(first, kept, tmp_path):
    path = tmp_path / "years.csv"
    pd.DataFrame({"year": range(first, first + 20), "x": [1, 2] * 10, "y": [0, 1] * 10}).to_csv(path, index=False)
    assert ("year" in datasets.read_table(path, "y").X) == kept


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"Got .*none\.csv, which is not a file, expected a CSV file with a header"):
        datasets.read_table(tmp_path / "none.csv", "y")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"Got .*t\.csv, which is empty, expected a CSV file in UTF-8, .*; add a header and rows"),
        (b"x,y\n\xe9,1\n", r"Got .*t\.csv with bytes that are not UTF-8, expected a CSV file .*; convert it"),
        (
            b"x,y\n1,0,5\n1,2,5\n",
            r"Got .*t\.csv with rows of unequal length \(Length of header.*\), expected .*; quote cells",
        ),
        (b"x,y\n1,0\n1,2,3,4\n", r"Got .*t\.csv with rows of unequal length \(.*line 3.*\), expected .*; quote cells"),
        (
            b"x;y\n1;0\n",
            r"Got .*t\.csv with the single column 'x;y', .* separated by semicolons, expected .* with commas",
        ),
        (b"x;y\n1;0\n1,5;0,5;2\n", r"Got .*t\.csv with the single column 'x;y', .* separated by semicolons"),
        (b"x;y\n1,5;0\n2,5;1\n", r"Got .*t\.csv with the single column 'x;y', .* separated by semicolons"),
        (b"x\ty\n1\t0\n", r"Got .*t\.csv with the single column .* separated by tabs, expected .* with commas"),
        (b"x\n1\n", r"Got target='y', expected a column of .*t\.csv: 'x'"),
    ],
)
def test_a_file_that_is_no_such_table_is_named(content, message, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        datasets.read_table(tmp_path / "t.csv", "y")


def test_a_table_without_features_is_refused(tmp_path):
    path = tmp_path / "empty.csv"
    pd.DataFrame({"x": 1, "y": [0, 1] * 10}).to_csv(path, index=False)
    with pytest.raises(ValueError, match="Got no column with several values besides the target"):
        datasets.read_table(path, "y")


def test_a_file_needs_a_target_and_a_target_a_file(tmp_path):
    with pytest.raises(ValueError, match=r"Got my\.csv without a target, expected --target"):
        demo.run_demo(tmp_path, path="my.csv")
    with pytest.raises(ValueError, match="Got target='a' and groups=None without a file"):
        demo.run_demo(tmp_path, target="a")


def test_pandas_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs the package 'pandas'.*\[demo\]"):
        datasets.load_example("wine")


def test_every_row_is_predicted_by_a_fold_that_left_it_out(monkeypatch):
    monkeypatch.setattr(comparison, "CLASSIFIERS", {"lr": SMALL["logistic regression"]})
    (row,) = demo.compare([datasets.load_example("wine")], n_folds=3)
    assert row.proba.shape == (178, 3)
    np.testing.assert_allclose(row.proba.sum(1), 1)
    assert row.accuracy > 0.9
    assert 0 < row.log_loss < 0.5
    assert 0 <= row.calibration_error < 0.2


def test_groups_are_whole_in_a_fold_and_told_to_ours_alone(monkeypatch):
    seen = []

    class Spy(LogisticRegression):
        def fit(self, X, y, groups=None):
            seen.append((set(X["group"]), None if groups is None else set(groups)))
            return super().fit(X, y)

    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 6)
    X = pd.DataFrame({"group": groups, "x": rng.normal(size=60)})
    data = datasets.Dataset("grouped", X, np.tile([0, 1], 30), groups)
    monkeypatch.setattr(comparison, "CLASSIFIERS", {OURS: lambda seed: Spy(), "peer": lambda seed: Spy()})
    list(demo.compare([data], n_folds=2))
    ours, peers = seen[:2], seen[2:]
    assert all(told == trained for trained, told in ours)
    assert not ours[0][0] & ours[1][0]
    assert all(told is None for _, told in peers)


@pytest.mark.parametrize("name", [name for name in demo.CLASSIFIERS if name != OURS])
def test_peers_take_gaps_and_categories(name, messy, monkeypatch):
    monkeypatch.setattr(comparison, "CLASSIFIERS", {name: demo.CLASSIFIERS[name]})
    data = datasets.read_table(messy, "diagnosis", n_folds=2)
    (row,) = demo.compare([data], n_folds=2)
    assert row.accuracy > 0.8


def test_ours_has_default_parameters():
    ours = demo.CLASSIFIERS[OURS](7)
    assert ours.get_params() == GenerativeTransportClassifier(random_state=7).get_params()


def test_verdict_names_the_best_and_the_error():
    y = np.array([0, 0, 0, 1])
    sure = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    wrong = sure[:, ::-1]
    rows = [Comparison("t", "a", y, wrong, 0.0), Comparison("t", "b", y, sure, 0.0)]
    said = report.verdict(rows)
    assert "Highest accuracy: b; lowest log-loss: b." in said
    assert "accuracy of 0.750" in said
    assert "With 4 rows, the standard error of an accuracy is about 0.153;" in said
    tied = [*rows, Comparison("t", "c", y, sure, 0.0), Comparison("t", "d", y, sure, 0.0)]
    assert "Highest accuracy: b, c, d; lowest log-loss: b." in report.verdict(tied)


def test_errors_are_named_by_their_row_in_the_file():
    data = datasets.Dataset("t", pd.DataFrame({"x": [1, 2]}, index=[4, 7]), np.array([0, 1]))
    ours = Comparison("t", OURS, data.y, np.array([[0.9, 0.1], [0.8, 0.2]]), 0.0)
    table = report._errors(data, ours)
    assert "row (1 = first after the header)" in table
    assert ">8<" in table


def test_too_few_folds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Got n_folds=1, expected an integer >= 2"):
        demo.run_demo(tmp_path, n_folds=1)


@pytest.mark.parametrize(
    ("found", "first", "program"),
    [
        ("/bin/gendiffclf", "x", "gendiffclf"),
        (None, ".venv/bin/gendiffclf", ".venv/bin/gendiffclf"),
        (None, "gendiffclf/__main__.py", "python -m gendiffclf"),
    ],
)
def test_the_command_is_named_as_it_is_called(found, first, program, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: found)
    monkeypatch.setattr("sys.argv", [first])
    assert demo._program() == program


def test_the_speech_demo_tells_vowels_and_genders_of_new_voices(capsys):
    parameters = {"max_steps": 60, "n_members": 2, "width": 32, "depth": 1}
    pytest.importorskip("soundfile")
    from gendiffclf.demo.vowels import run_speech_demo

    found = run_speech_demo(n_speakers=8, n_takes=1, n_folds=2, parameters=parameters)
    printed = capsys.readouterr().out
    for word in (
        "80 synthesised clips of 8 speakers",
        "who'd",
        "recall",
        "UAR",
        "male",
        "Training and test speakers are different",
    ):
        assert word in printed
    assert found["vowel"].pooled["uar"] > 0.5
    assert found["gender"].pooled["uar"] > 0.9
    assert found["vowel"].shared_speakers == ()
