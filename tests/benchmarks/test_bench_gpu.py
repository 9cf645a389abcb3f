"""The benchmark of a GPU, in tiny sizes on the CPU, and its part of the page on speed."""

import json
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.__main__ import main
from benchmarks.records import SCHEMA
from benchmarks.render import render

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_tiny_sizes_run_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "MODELS", {name: gpu.MODELS[name] for name in ("ours", "ours on the CPU")})
    assert main(["gpu", "--quick", "--output", str(tmp_path)]) == 0
    recipe, classifiers = (json.loads((tmp_path / f"{part}.json").read_text()) for part in gpu.PARTS)
    assert recipe["schema"] == classifiers["schema"] == SCHEMA
    assert recipe["figures"]["ways"]["kernel by kernel"]["update_seconds"] > 0
    for case in gpu.CASES:
        found = classifiers["figures"][case]
        assert found["ours"]["accuracy"] == found["ours on the CPU"]["accuracy"] > 0.7
        assert found["ours"]["fit_seconds"] > 0


def test_quick_figures_are_no_records(capsys):
    assert main(["gpu", "--quick"]) == 2
    assert "Got --quick without --output" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_there_are_no_figures(tmp_path, capsys):
    assert main(["gpu", "--output", str(tmp_path)]) == 2
    assert "Got a machine without a CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_fit_that_takes_too_long_is_stopped():
    begin = time.perf_counter()
    with pytest.raises(TimeoutError), gpu.time_limit(0.05):
        time.sleep(10)
    assert time.perf_counter() < begin + 5
    with gpu.time_limit(0.01):
        pass
    time.sleep(0.02)  # nothing rings later


def test_the_page_names_the_device_and_what_was_stopped():
    names = gpu.context(RESULTS)
    device = names["records"]["recipe"]["environment"]["hardware"]["gpu"]
    page = render("speed", {"commands": [], "parts": {}, "names": [], "gpu": names})
    assert page.count(f"Hardware: {names['records']['recipe']['environment']['hardware']['cpu']}") == 3
    assert device in page
    for case, models in names["records"]["classifiers"]["figures"].items():
        stopped = [label for label, found in models.items() if not found]
        assert names["cases"][case].count("| > ") == len(stopped)
    recipe = names["records"]["recipe"]["figures"]
    floor = 36 * recipe["n_parameters"] / recipe["bytes_per_second"]
    slowest = recipe["ways"]["kernel by kernel"]["update_seconds"]
    assert f"| kernel by kernel | {1000 * slowest:.2f} | {slowest / floor:.1f} |" in page
    assert gpu.context(RESULTS / "none") == {}
