"""Batches, and how a trainer judges its members."""

import numpy as np
import pytest
import torch

from gendiffclf.training import calibration
from gendiffclf.training.folds import Assignment
from gendiffclf.training.trainer import Trainer, TrainingRows, TrainingSettings, padded, validation_blocks

SETTINGS = TrainingSettings(
    max_epochs=1,
    max_steps=None,
    batch_size=8,
    learning_rate=0.01,
    learning_rate_schedule="constant",
    weight_decay=0.0,
    averaging=0.0,
    patience=None,
    precision=torch.float32,
    solver="exact",
    n_steps=1,
)


@pytest.fixture
def data(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X, y)
    rows = torch.as_tensor(classifier.scaler_.transform(X[:, None]))
    return classifier.model_, TrainingRows(rows, torch.as_tensor(y), torch.ones(150), classifier._codes())


def test_lines_of_row_numbers_are_filled_up_with_minus_one():
    numbers = padded([np.array([4, 2]), np.array([7]), np.array([], int)], torch.device("cpu"))
    assert numbers.tolist() == [[4, 2], [7, -1], [-1, -1]]
    assert numbers.dtype == torch.int32


def test_shuffled_row_numbers_are_those_of_each_member_in_another_order(data):
    model, _ = data
    parts = [np.arange(0, 100), np.arange(60, 150)]
    trainer = Trainer(model, SETTINGS, Assignment(parts, [parts[0][:0]] * 2), seed=0)
    first, second = trainer._shuffled(), trainer._shuffled()
    assert first.dtype == torch.int32
    assert not torch.equal(first, second)
    for line, part in zip(first, parts, strict=True):
        assert sorted(number for number in line.tolist() if number >= 0) == part.tolist()
        assert line.tolist() != sorted(line.tolist())


def test_rows_that_fill_up_count_nothing(data):
    """A member of few rows beside one of many takes the first row of all where it has none."""
    model, rows = data
    few, many = np.arange(1, 4), np.arange(1, 100)
    spoilt = TrainingRows(rows.rows.clone(), rows.y, rows.weight, rows.codes)
    spoilt.rows[0] = 2.0
    losses = []
    for source in (rows, spoilt):
        trainer = Trainer(model, SETTINGS, Assignment([few, many], [few[:0]] * 2), seed=0)
        before = trainer.weights.copy()
        losses.append(trainer.epoch(source)[0])
        trainer.finish(before)
    assert losses[0] == losses[1]


def test_a_judgement_says_how_far_each_row_is_off(data):
    model, rows = data
    judged = [np.arange(0, 40), np.arange(100, 110)]
    trainer = Trainer(model, SETTINGS, Assignment([np.arange(150)] * 2, judged), seed=0)
    found = trainer._judge(rows)
    y = rows.y[np.concatenate(judged)]
    assert found.probabilities.shape == (50, 3)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(50))
    expected = (found.probabilities - torch.nn.functional.one_hot(y)).pow(2).sum(1)
    torch.testing.assert_close(found.distance, expected)


@pytest.mark.parametrize(("before", "stride"), [(0, 3), (7, 4), (8, 4), (5, 200)])
def test_probabilities_of_every_so_many_th_judged_row_are_kept(data, monkeypatch, before, stride):
    """Counted over all trainers, in the order of members, however rows are put into blocks."""
    monkeypatch.setattr("gendiffclf.training.trainer.CPU_VALIDATION_BLOCK", 16)
    model, rows = data
    assignment = Assignment([np.arange(150)] * 2, [np.arange(0, 70), np.arange(100, 145)])
    every = Trainer(model, SETTINGS, assignment, seed=0)._judge(rows)
    some = Trainer(model, SETTINGS, assignment, seed=0, judged_before=before, stride=stride)._judge(rows)
    assert torch.equal(some.probabilities, every.probabilities[-before % stride :: stride])
    assert torch.equal(some.distance, every.distance)


@pytest.mark.parametrize("n_rows", [1, 1023, 1024, 1535, 1536, 1537, 2048, 4000])
def test_blocks_of_validation_cover_all_rows_and_none_is_short(n_rows):
    blocks = validation_blocks(n_rows, torch.device("cpu"))
    assert np.concatenate([np.arange(n_rows)[block] for block in blocks]).tolist() == list(range(n_rows))
    sizes = [block.stop - block.start for block in blocks]
    assert max(sizes) < 1536
    assert len(sizes) == 1 or min(sizes) >= 512


@pytest.mark.parametrize(("n_rows", "sizes"), [(4096, [4096]), (4097, [4096, 1]), (9000, [4096, 4096, 808])])
def test_blocks_of_validation_on_an_accelerator(n_rows, sizes):
    blocks = validation_blocks(n_rows, torch.device("cuda"))
    assert [block.stop - block.start for block in blocks] == sizes


def test_a_calibration_on_kept_probabilities_is_that_on_all(tiny, digits, monkeypatch):
    """What is left out would not have been looked at."""
    X, y = digits
    seen = []
    fit_calibration = calibration.fit_calibration
    monkeypatch.setattr(calibration, "_MOST_ROWS", 300)

    def noting(probabilities, y, weight):
        seen.append((probabilities, y))
        return fit_calibration(probabilities, y, weight)

    monkeypatch.setattr("gendiffclf.training.loop.fit_calibration", noting)
    found = tiny(n_members=6, max_epochs=2).fit(X, y).calibration_
    monkeypatch.setattr("gendiffclf.training.loop.calibration_stride", lambda n: 1)
    assert tiny(n_members=6, max_epochs=2).fit(X, y).calibration_ == found
    (kept, kept_y), (every, every_y) = seen
    assert torch.equal(kept, every[::6])
    assert torch.equal(kept_y, every_y[::6])
