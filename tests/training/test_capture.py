"""Steps as one CUDA graph, as far as a machine without such a device can tell."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from torch.utils._python_dispatch import TorchDispatchMode

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.training import capture
from gendiffclf.training.capture import EAGER_STEPS, CapturedStep
from gendiffclf.training.trainer import Trainer
from gendiffclf.training.written_out import WrittenOutGradients


@pytest.fixture
def recorded(monkeypatch) -> list:
    """Captures, each of which calls anew what a graph would replay."""
    captures: list = []

    def record(launch, generator):
        captures.append(generator)
        return launch

    monkeypatch.setattr(capture, "record", record)
    return captures


def test_a_step_is_captured_once_and_replayed_with_the_numbers_of_each_batch(recorded, generator):
    seen = []
    step = CapturedStep(lambda numbers: seen.append((numbers.tolist(), numbers.data_ptr())), generator)
    batches = torch.arange(2 * (EAGER_STEPS + 3)).reshape(-1, 1, 2)
    for numbers in batches:
        step(numbers)
    assert [numbers for numbers, _ in seen] == batches.tolist()
    assert recorded == [generator]
    assert len({place for _, place in seen[:EAGER_STEPS]}) == EAGER_STEPS
    assert len({place for _, place in seen[EAGER_STEPS:]}) == 1


def test_what_cannot_be_captured_goes_on_as_it_was(monkeypatch, generator):
    def fail(launch, generator):
        raise RuntimeError("operation not permitted")

    monkeypatch.setattr(capture, "record", fail)
    seen = []
    step = CapturedStep(lambda numbers: seen.append(int(numbers)), generator)
    for number in range(EAGER_STEPS):
        step(torch.tensor(number))
    with pytest.warns(RuntimeWarning, match="goes on without a CUDA graph, .* operation not permitted"):
        step(torch.tensor(EAGER_STEPS))
    step(torch.tensor(EAGER_STEPS + 1))
    assert seen == list(range(EAGER_STEPS + 2))


def test_few_steps_are_not_captured(monkeypatch, recorded):
    monkeypatch.setattr(WrittenOutGradients, "applies", lambda model: False)
    monkeypatch.setattr("gendiffclf.training.trainer.captures", lambda data, processes: True)
    X, y = load_wine(return_X_y=True)
    classifier = GenerativeTransportClassifier(max_epochs=30, n_members=2, batch_size=5, random_state=0, max_steps=99)
    classifier.fit(X, y)
    GenerativeTransportClassifier(n_members=2, batch_size=5).partial_fit(X, y)
    assert recorded == []


@pytest.mark.parametrize("settings", [{}, {"averaging": 0.0, "learning_rate_schedule": "cosine", "weight_decay": 0.01}])
def test_a_fit_with_captured_steps_is_that_without(monkeypatch, recorded, settings):
    monkeypatch.setattr(WrittenOutGradients, "applies", lambda model: False)  # written out they are for CPUs alone
    X, y = load_wine(return_X_y=True)
    classifier = GenerativeTransportClassifier(max_epochs=50, n_members=2, batch_size=40, random_state=0, **settings)
    expected = classifier.fit(X, y).predict_proba(X)
    assert recorded == []
    monkeypatch.setattr("gendiffclf.training.trainer.captures", lambda data, processes: True)
    np.testing.assert_array_equal(classifier.fit(X, y).predict_proba(X), expected)
    assert len(recorded) == 1


class Waits(TorchDispatchMode):
    """Notes operations that copy to a device from memory that is not there, or wait for the device; no graph can hold them."""

    forbidden = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "unique", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self.forbidden:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"preset": "gen-ser", "width": 32, "depth": 1, "time_width": 8, "n_heads": 4},
        {"objective": "velocity", "time_sampling": "logit_normal"},
        {"time_sampling": "mixed", "variance_schedule": "constant", "mean_schedule": "cosine"},
        {"tokenizer": "chunks"},
        {"objective": "noise", "time_sampling": "biased", "mean_schedule": "linear"},
    ],
)
def test_no_step_waits_for_its_device(monkeypatch, settings):
    found = []
    plain = Trainer._step

    def watched(self, data, numbers):
        with Waits() as waits:
            plain(self, data, numbers)
        found.append(waits.found)

    monkeypatch.setattr(WrittenOutGradients, "applies", lambda model: False)
    monkeypatch.setattr(Trainer, "_step", watched)
    X, y = load_wine(return_X_y=True)
    common = {"max_epochs": 1, "max_steps": None, "early_stopping": False, "n_members": 2, "batch_size": 40}
    settings = dict(settings)
    preset = settings.pop("preset", "default")
    GenerativeTransportClassifier.from_preset(preset, **{**settings, **common}).fit(X, y)
    assert len(found) > 1
    assert set().union(*found[1:]) == set()  # the first step makes what lasts


def test_the_watch_notices():
    with Waits() as waits:
        float(torch.ones(1) + torch.tensor(2.0))
    assert waits.found == {"_local_scalar_dense", "lift_fresh"}
