"""The command line, and how light the package is to import."""

import subprocess
import sys
from pathlib import Path

import pytest

import gendiffclf
from gendiffclf import cli


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"gendiffclf {gendiffclf.__version__}"


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert name in printed
        assert command.summary.split()[0] in printed


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--nonsense"]])
def test_unknown_words_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: gendiffclf" in capsys.readouterr().err


def test_demo_gets_its_options(monkeypatch):
    pytest.importorskip("matplotlib")
    calls = []
    monkeypatch.setattr("gendiffclf.demo.run_demo", lambda *args, **kwargs: calls.append((args, kwargs)))
    words = "demo my.csv --target y --groups who --output reports --folds 5 --max-rows 100 --seed 7"
    assert cli.main(words.split()) == 0
    columns = {"path": Path("my.csv"), "target": "y", "groups": "who"}
    assert calls == [((Path("reports"),), {**columns, "n_folds": 5, "max_rows": 100, "random_state": 7})]


def test_wrong_input_is_one_line_without_a_traceback(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.main(["demo", "--folds", "1", "--output", str(tmp_path)])
    assert stop.value.code == 1
    assert "gendiffclf demo: Got n_folds=1, expected an integer >= 2." in capsys.readouterr().err


def test_a_command_is_one_entry(monkeypatch):
    seen = []
    extra = cli.Command(
        "say a word", lambda parser: parser.add_argument("word"), lambda options: seen.append(options.word)
    )
    monkeypatch.setitem(cli.COMMANDS, "say", extra)
    assert cli.main(["say", "hello"]) == 0
    assert seen == ["hello"]


def run_python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_module_runs():
    assert run_python("-m", "gendiffclf", "--version").strip() == f"gendiffclf {gendiffclf.__version__}"


@pytest.mark.parametrize("statement", ["import gendiffclf", "import gendiffclf.cli"])
def test_import_is_light(statement):
    heavy = ("torch", "matplotlib", "transformers", "sklearn", "numpy", "pandas", "soundfile")
    loaded = run_python("-c", f"import sys; {statement}; print(*sys.modules)").split()
    assert not set(heavy) & set(loaded)


@pytest.mark.parametrize(("command", "extra"), [("audit .", "speech"), ("demo", "demo")])
def test_without_pandas_commands_name_the_extra(command, extra, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SystemExit) as stop:
        cli.main(command.split())
    assert stop.value.code == 1
    assert (
        f"This needs the package 'pandas', which is not installed: `pip install -e '.[{extra}]'`"
        in capsys.readouterr().err
    )


def test_without_pandas_speech_names_the_extra_where_it_needs_it():
    statement = """
import sys
sys.modules["pandas"] = None
from gendiffclf.speech import LAYOUTS, load_model, save_model, synthesize_vowel
try:
    from gendiffclf.speech import evaluate
except ImportError as error:
    print(error)
"""
    assert run_python("-c", statement).startswith("This needs the package 'pandas', which is not installed")


def test_the_classifier_needs_no_plots_and_no_speech():
    statement = "import sys; from gendiffclf import GenerativeTransportClassifier; print(*sys.modules)"
    loaded = run_python("-c", statement).split()
    assert not {"torch", "matplotlib", "transformers", "soundfile"} & set(loaded)


def test_fit_and_predict_do_without_the_compiler_of_torch():
    """Its import would take longer than a fit of a small table."""
    statement = """
import sys
from sklearn.datasets import load_iris
from gendiffclf import GenerativeTransportClassifier
X, y = load_iris(return_X_y=True)
GenerativeTransportClassifier().fit(X, y).predict_proba(X)
print(*sys.modules)
"""
    loaded = run_python("-c", statement).split()
    assert "torch" in loaded
    assert "torch._dynamo" not in loaded


def test_every_export_loads_and_has_one_home():
    assert set(dir(gendiffclf)) - set(vars(gendiffclf)) <= set(gendiffclf.__all__)
    for name in gendiffclf.__all__:
        assert getattr(gendiffclf, name).__name__ == name
        assert name in dir(gendiffclf)
    with pytest.raises(AttributeError, match="module 'gendiffclf' has no attribute 'nonsense'"):
        gendiffclf.nonsense  # noqa: B018
