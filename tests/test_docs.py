"""The pages tell the truth: examples run, defaults and layers are those of the code, every export has its place."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer

import gendiffclf
from gendiffclf import GenerativeTransportClassifier

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "docs/index.md",
    "docs/getting-started.md",
    "docs/missing-values.md",
    "docs/labels.md",
    "docs/deployment.md",
    "docs/extending.md",
    "docs/emosphere.md",
    "docs/selm.md",
]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

REGISTRIES = [
    ("gendiffclf.transport.codes", "CODES"),
    ("gendiffclf.transport.schedules", "MEAN_SCHEDULES"),
    ("gendiffclf.transport.schedules", "VARIANCE_SCHEDULES"),
    ("gendiffclf.transport.learned", "OBJECTIVES"),
    ("gendiffclf.transport.times", "TIME_SAMPLERS"),
    ("gendiffclf.transport.solvers", "SOLVERS"),
    ("gendiffclf.estimators.ridge", "KERNELS"),
    ("gendiffclf.estimators.tokenizers", "TOKENIZERS"),
    ("gendiffclf.speech.layouts", "LAYOUTS"),
]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture
def few_steps(set_defaults, without_gaps):
    """Examples fit with default parameters, but for few updates of few small members."""
    set_defaults(max_steps=10, n_members=2, depth=1, n_frequencies=1, verbose=0)


@pytest.fixture
def few_rows(monkeypatch):
    """The largest table of the examples has a third of its rows."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    monkeypatch.setattr("sklearn.datasets.load_breast_cancer", lambda **_: (X[::3], y[::3]))


@pytest.fixture
def registries(monkeypatch):
    """What examples add to the registries goes away after the test."""
    for module, name in REGISTRIES:
        registry = getattr(importlib.import_module(module), name)
        for key, value in registry.items():
            monkeypatch.setitem(registry, key, value)
    kept = [(r, dict(r)) for m, n in REGISTRIES for r in [getattr(importlib.import_module(m), n)]]
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)


@pytest.mark.usefixtures("few_steps", "few_rows", "registries", "pyplot")
@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    blocks = re.findall(r"```python\n(.*?)```", read(page), re.DOTALL)
    assert blocks
    for block in blocks:
        # Small examples of verbose fits show no bar in tests.
        exec(compile(block.replace("verbose=1", "verbose=0"), page, "exec"), names)


def test_the_readme_prints_what_it_says(capsys):
    code, printed = re.search(
        r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", read("README.md"), re.DOTALL
    ).groups()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_readme_names_every_extra():
    (table,) = re.findall(r"\| extra \| brings \|\n(.*?)\n\n", read("README.md"), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()))) == set(
        PYPROJECT["project"]["optional-dependencies"]
    )


def test_the_script_for_several_processes_runs(tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", read("docs/distributed.md"), re.DOTALL)
    short = script.replace("random_state=0", "random_state=0, max_steps=2, n_members=2").replace(
        "load_digits", "load_iris"
    )
    assert short != script
    (tmp_path / "train.py").write_text(short)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    here = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {"PYTHONPATH": here, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert GenerativeTransportClassifier.load(tmp_path / "digits.safetensors").n_iter_ == 2


def test_commands_of_the_readme_exist():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^make ([\w-]+)", listed, re.MULTILINE))
    assert {"help", "demo", "test", "check"} <= targets
    for page in ("README.md", "CONTRIBUTING.md", *map(str, Path(ROOT, "docs").glob("*.md"))):
        assert set(re.findall(r"(?:`|^)make ([a-z]+)", read(page), re.MULTILINE)) <= targets


def test_help_is_the_default_and_lists_every_target():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE).group(1).split()
    assert re.findall(r"^make ([\w-]+)", listed, re.MULTILINE) == phony


def test_every_export_is_documented():
    for name in gendiffclf.__all__:
        export = getattr(gendiffclf, name)
        documentation = inspect.getdoc(export)
        for section in ["Examples", *(["Parameters"] if inspect.signature(export).parameters else [])]:
            assert f"{section}\n---" in documentation, name


def layers() -> list[str]:
    (contract,) = [c for c in PYPROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    return contract["layers"]


def test_the_architecture_page_shows_the_contract():
    (block,) = re.findall(r"```text\n(.*?)```", read("docs/architecture.md"), re.DOTALL)
    assert block.splitlines() == layers()


def test_the_architecture_page_names_every_module():
    page = read("docs/architecture.md")
    for module in re.findall(r"\w+", " ".join(layers())):
        path = ROOT / "gendiffclf" / module
        if path.with_suffix(".py").exists():
            assert f"`{module}.py`" in page
        elif any(path.glob("*.py")):
            assert f"`{module}/`" in page


def test_files_that_pages_name_exist():
    for page in ["CONTRIBUTING.md", "README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]:
        text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
        for name in re.findall(r"`((?:\w+/)*\w+\.py|(?:\w+/)+)`", text):
            if name not in ("demo-output/", "site/"):
                assert any((ROOT / top / name).exists() for top in ("gendiffclf", ".")), f"{name} in {page}"


def test_every_registry_is_named():
    page = read("docs/extending.md")
    for _, name in [
        *REGISTRIES,
        ("gendiffclf.featurizers", "FEATURIZERS"),
        ("gendiffclf.cli", "COMMANDS"),
        ("benchmarks.models", "MODELS"),
    ]:
        assert f"`{name}`" in page


def test_the_version_is_one():
    assert f"version: {gendiffclf.__version__}\n" in read("CITATION.cff")
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gendiffclf._version.VERSION"}


def test_every_import_is_a_declared_dependency():
    """Directly imported packages are named, not left to come along with others."""
    project = PYPROJECT["project"]
    required = {re.match(r"[\w-]+", r).group() for r in project["dependencies"]}
    extras = project["optional-dependencies"]
    optional = {
        re.match(r"[\w-]+", r).group() for name in ("speech", "finetune", "plots", "demo", "onnx") for r in extras[name]
    }
    modules = set()
    for path in (ROOT / "gendiffclf").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    modules -= {*sys.stdlib_module_names, "gendiffclf"}
    distributions = {"sklearn": "scikit-learn", "onnx_ir": "onnx-ir"}
    assert {distributions.get(name, name) for name in modules} <= required | optional


def test_constraints_pin_what_the_project_names():
    pinned = set(re.findall(r"^([\w-]+)==[\w.]+$", read("constraints.txt"), re.MULTILINE))
    project = PYPROJECT["project"]
    extras = [
        r
        for name in ("speech", "finetune", "plots", "demo", "onnx", "docs", "dev")
        for r in project["optional-dependencies"][name]
    ]
    named = {re.match(r"[\w-]+", requirement).group() for requirement in [*project["dependencies"], *extras]}
    assert named <= pinned


def test_minimum_pins_are_those_of_pyproject():
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)$", read("constraints-minimum.txt"), re.MULTILINE))
    least = dict(requirement.split(">=") for requirement in PYPROJECT["project"]["dependencies"])
    assert pins.keys() == least.keys()
    assert all(f"{pins[name]}.".startswith(f"{version}.") for name, version in least.items())
