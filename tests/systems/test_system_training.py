import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gendiffclf import EmoSphereRegressor, SelmClassifier
from gendiffclf.featurizers.padding import pad
from gendiffclf.systems.collation import FrameScaler, collate
from gendiffclf.systems.training import COMPLETE, _cuda_device, last_checkpoint, train_module

from .processes import run_apart

pytest.importorskip("accelerate")


class Summing(nn.Module):
    """A linear map of frames with dropout, summed over a clip, under a squared loss; keeps the epochs it saw."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.dropout = nn.Linear(3, 1), nn.Dropout(0.5)
        self.epoch, self.seen = 0, []

    def forward(self, inputs, mask, target):
        self.seen.append(self.epoch)
        rows = (self.dropout(self.linear(inputs))[..., 0] * mask).sum(1)
        return {"loss": (rows - target).square().mean()}


def examples(count=24):
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(rng.integers(2, 6), 3)).astype(np.float32) for _ in range(count)]
    return [{"inputs": clip, "target": np.float32(i % 2)} for i, clip in enumerate(frames)]


SETTINGS = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 8,
    "learning_rate": 0.05,
    "lr_scheduler_type": "constant",
    "device": torch.device("cpu"),
    "seed": 1,
}


def train(folder=None, rows=None, **changes):
    module = Summing()
    losses = train_module(module, rows or examples(), folder=folder, **{**SETTINGS, **changes})
    return module, losses


def test_it_trains_and_tells_the_module_its_epoch():
    module, losses = train(num_train_epochs=20)
    assert module.seen == [epoch for epoch in range(20) for _ in range(3)]
    assert len(losses) == 20
    assert losses[-1] < losses[0]


def test_accumulation_averages_gradients_and_short_batches_can_be_left_out():
    assert len(train(gradient_accumulation_steps=3, num_train_epochs=1)[0].seen) == 3
    assert len(train(rows=examples(20), num_train_epochs=1)[0].seen) == 3
    assert len(train(rows=examples(20), num_train_epochs=1, dataloader_drop_last=True)[0].seen) == 2


def test_accumulated_batches_are_one_larger_batch():
    # Adam's first step only has the gradient's sign; several steps show its size. Without dropout, all else is equal.
    def weights(**changes):
        module = Summing()
        module.dropout.p = 0.0
        train_module(module, examples(), **{**SETTINGS, **changes})
        return module.linear.weight

    one = weights()
    torch.testing.assert_close(weights(per_device_train_batch_size=4, gradient_accumulation_steps=2), one)
    assert not torch.allclose(weights(per_device_train_batch_size=4), one)


def test_random_states_and_environment_come_back(monkeypatch):
    monkeypatch.setenv("RANK", "1")  # of a group that this fit takes no part in
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    module = Summing()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    train_module(module, examples(), **SETTINGS)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("1", "2")


def test_the_trainer_gets_the_cuda_device_that_was_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.delenv("ACCELERATE_TORCH_DEVICE", raising=False)
    with _cuda_device(torch.device("cuda:1"), distributed=False):
        assert os.environ["ACCELERATE_TORCH_DEVICE"] == "cuda:1"
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ
    for device, distributed in (("cuda:1", True), ("cpu", False)):  # a process of a group takes its own
        with _cuda_device(torch.device(device), distributed=distributed):
            assert "ACCELERATE_TORCH_DEVICE" not in os.environ


def test_without_accelerate_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"needs the package 'accelerate', .* `pip install -e '\.\[finetune\]'`"):
        train()


def test_a_loss_that_is_not_finite_is_an_error():
    rows = examples()
    rows[0]["target"] = np.float32("nan")
    with pytest.raises(
        FloatingPointError, match=r"Got a training loss of nan, expected a finite one; lower learning_rate"
    ):
        train(rows=rows)


def test_training_goes_on_from_the_last_complete_checkpoint(tmp_path):
    whole, losses = train()
    train(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-6", "checkpoint-9"]
    (tmp_path / "checkpoint-9" / COMPLETE).unlink()  # as if killed while it was written
    (tmp_path / "checkpoint-9" / "optimizer.pt").unlink()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-6")
    module, resumed = train(tmp_path)
    assert module.seen == [2] * 3
    assert torch.equal(module.linear.weight, whole.linear.weight)
    assert resumed == losses
    again, _ = train(tmp_path)
    assert again.seen == []
    assert torch.equal(again.linear.weight, whole.linear.weight)


def save_fit(out, system, folder=None, distributed=False):
    """Fit a system, and save its weights and what it predicts."""
    rng = np.random.default_rng(0)
    clips = [(rng.normal(size=rng.integers(3000, 6000)).astype(np.float32), 16000) for _ in range(16)]
    run = {"n_epochs": 4, "batch_size": 4, "checkpoints": folder, "distributed": distributed, "device": "cpu"}
    run["precision"] = "float32"
    if system == "emosphere":
        names = ["arousal", "valence", "dominance"]
        fitted = EmoSphereRegressor("fbank", dimensions=names, value_range=(0, 1), width=16, **run)
        answers = fitted.fit(clips, rng.uniform(size=(16, 3))).predict(clips)
    else:
        fitted = SelmClassifier(
            "fbank", language_model="bytes", n_prefix=2, n_mapper_layers=1, learning_rate=1e-3, **run
        )
        answers = fitted.fit(clips, ["low", "high"] * 8).predict_proba(clips)
    weights = np.concatenate([w.numpy().ravel() for w in fitted.network_.state_dict().values()])
    np.save(f"{out}-{os.environ.get('RANK', '0')}.npy", np.append(weights, answers.ravel()))


def killed_fit(*arguments):
    """As `save_fit`, but killed as it is about to write the third checkpoint, with half of it there."""
    from transformers import Trainer

    original = Trainer._save_optimizer_and_scheduler

    def save(self, folder):
        if self.state.epoch > 2.5:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, folder)

    Trainer._save_optimizer_and_scheduler = save
    save_fit(*arguments)


def save_weights(out, batch_size, counts):
    """Train on as many rows as each count says, and save the weights after each training."""
    distributed = "RANK" in os.environ
    found = []
    for count in counts:
        module = Summing()
        module.dropout.p = 0.0
        changes = {"per_device_train_batch_size": batch_size, "distributed": distributed, "dataloader_drop_last": True}
        # Of one length, as frames summed over clips of several would be padded otherwise.
        rows = [{**row, "inputs": row["inputs"][:2]} for row in examples(count)]
        losses = train_module(module, rows, **{**SETTINGS, **changes})
        assert len(losses) == 3, losses
        assert torch.distributed.is_initialized() == distributed
        found.append(module.linear.weight.detach().numpy())
    np.save(f"{out}-{os.environ.get('RANK', '0')}.npy", np.concatenate(found))


@pytest.mark.parametrize("system", ["emosphere", pytest.param("selm", marks=pytest.mark.slow)])
def test_a_killed_fit_goes_on_to_the_same_weights(system, tmp_path):
    assert run_apart(killed_fit, tmp_path / "killed", system, tmp_path / "a") == [-signal.SIGKILL]
    assert not (tmp_path / "killed-0.npy").exists()
    (training,) = (tmp_path / "a").iterdir()
    assert Path(last_checkpoint(training)).name == "checkpoint-8"
    for folder, out in (("a", "resumed"), ("b", "whole")):
        assert run_apart(save_fit, tmp_path / out, system, tmp_path / folder) == [0]
    np.testing.assert_array_equal(np.load(tmp_path / "resumed-0.npy"), np.load(tmp_path / "whole-0.npy"))


@pytest.mark.parametrize("system", ["emosphere", pytest.param("selm", marks=pytest.mark.slow)])
def test_two_processes_train_one_model(system, tmp_path):
    assert run_apart(save_fit, tmp_path / "out", system, None, True, n_processes=2) == [0, 0]
    first, second = (np.load(tmp_path / f"out-{rank}.npy") for rank in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()


def test_two_processes_are_one_of_twice_the_batch(tmp_path):
    # 6 rows are too few for a complete batch of both processes: the incomplete ones are kept.
    assert run_apart(save_weights, tmp_path / "two", 4, [24, 6], n_processes=2) == [0, 0]
    assert run_apart(save_weights, tmp_path / "one", 8, [24]) == [0]
    np.testing.assert_allclose(np.load(tmp_path / "two-0.npy")[:1], np.load(tmp_path / "one-0.npy"), rtol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "two-0.npy"), np.load(tmp_path / "two-1.npy"))


def test_padding_and_masks():
    batch = collate(
        [
            {"inputs": np.ones((2, 3)), "target": 1.5, "region": 2},
            {"inputs": np.ones((4, 3)), "target": 0.5, "region": 0},
        ]
    )
    assert batch["inputs"].shape == (2, 4, 3)
    assert batch["mask"].tolist() == [[True, True, False, False], [True] * 4]
    assert batch["inputs"].sum() == 18
    assert batch["target"].tolist() == [1.5, 0.5]
    assert batch["region"].dtype == torch.int64
    waves, mask = pad([np.ones(5), np.ones(2)])
    assert waves.sum(1).tolist() == mask.sum(1).tolist() == [5, 2]


def test_frames_are_scaled_over_all_clips_and_padding_stays_zero():
    rng = np.random.default_rng(0)
    frames = [rng.normal(3, 2, (n, 4)).astype(np.float32) for n in (5, 9, 2)]
    frames = [np.column_stack([clip, np.full(len(clip), 7, np.float32)]) for clip in frames]  # one feature is constant
    scaler = FrameScaler(5).fit(frames)
    padded, mask = pad(frames)
    scaled = scaler(padded, mask)
    every = np.concatenate(frames)
    np.testing.assert_allclose(scaled[mask][:, :4], (every - every.mean(0))[:, :4] / every.std(0)[:4], atol=1e-5)
    assert (scaled[mask][:, 4] == 0).all()
    assert (scaled[~mask] == 0).all()
