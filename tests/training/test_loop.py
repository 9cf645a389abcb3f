"""Training as a user sees it: epochs, stopping, averages, rates."""

import numpy as np
import pytest
import torch


@pytest.fixture
def parts(iris):
    X, y = iris
    return X[::2], y[::2], X[1::2], y[1::2]


def weights(classifier) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in classifier.model_.network.parameters()])


@pytest.mark.parametrize("objective", ["target", "velocity", "noise"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_the_loss_falls(tiny, iris, objective, precision):
    """At uniform times of a path whose noise the network can learn; the noise of one row is nothing it could know."""
    classifier = tiny(
        objective=objective,
        precision=precision,
        mean_schedule="linear",
        variance_schedule="bridge" if objective == "noise" else "zero",
        time_sampling="uniform",
        sigma=3.0,
        batch_size=16,
        max_epochs=20,
        learning_rate=0.01,
    ).fit(*iris)
    loss = classifier.history_["loss"]
    assert loss[-1] < 0.85 * loss[0]


def test_history_has_one_entry_an_epoch(tiny, iris):
    classifier = tiny(max_epochs=4).fit(*iris)
    assert classifier.n_iter_ == 4
    assert {name: len(values) for name, values in classifier.history_.items()} == dict.fromkeys(
        ("loss", "validation_brier", "seconds"), 4
    )
    assert all(seconds > 0 for seconds in classifier.history_["seconds"])


def test_the_best_epoch_is_that_of_the_best_score(tiny, iris):
    classifier = tiny(max_epochs=12, learning_rate=0.03).fit(*iris)
    scores = classifier.history_["validation_brier"]
    assert classifier.best_epoch_ == int(np.argmin(scores)) + 1


def test_the_weights_of_the_best_epoch_are_kept(tiny, iris):
    """A run that is cut off right after its best epoch ends with the same weights."""
    changes = {"learning_rate": 0.3, "averaging": 0.0, "batch_size": 16}
    long = tiny(max_epochs=20, **changes).fit(*iris)
    assert long.best_epoch_ < 20, "this test needs a run that gets worse again"
    short = tiny(max_epochs=long.best_epoch_, **changes).fit(*iris)
    assert torch.equal(weights(long), weights(short))
    assert long.calibration_ == short.calibration_


def test_training_stops_after_epochs_without_a_better_score(tiny, iris):
    classifier = tiny(max_epochs=200, learning_rate=0.05, n_iter_no_change=2).fit(*iris)
    assert classifier.n_iter_ == classifier.best_epoch_ + 2 < 200


def test_without_early_stopping_every_row_trains_and_the_last_weights_are_kept(tiny, iris):
    classifier = tiny(early_stopping=False, max_epochs=3).fit(*iris)
    assert classifier.history_["validation_brier"] == [None] * 3
    assert classifier.n_iter_ == classifier.best_epoch_ == 3


def test_a_class_of_one_row_survives_the_hold_out(tiny, iris):
    X, y = iris
    y[0] = 7
    for changes in ({}, {"cross_fit": False}, {"n_members": 1}):
        classifier = tiny(**changes).fit(X, y)
        assert classifier.predict_proba(X).shape == (150, 4)


def test_groups_are_accepted_and_change_the_folds(tiny, iris):
    X, y = iris
    plain, grouped = tiny().fit(X, y), tiny().fit(X, y, groups=np.arange(150) // 5)
    assert plain.history_["validation_brier"] != grouped.history_["validation_brier"]
    with pytest.raises(ValueError, match=r"Got 10 groups for 150 rows, expected one group per row"):
        tiny().fit(X, y, groups=np.arange(10))


def test_averaged_weights_lag_behind(tiny, iris):
    """The longer the memory, the further the average of the weights is behind the last ones."""

    def fit(averaging):
        return weights(tiny(averaging=averaging, early_stopping=False, max_epochs=10, batch_size=16).fit(*iris))

    last = fit(0.0)
    assert 0 < (fit(0.5) - last).norm() < 0.5 * (fit(0.98) - last).norm()


def test_averaging_watches_training_and_does_not_touch_it(tiny, iris):
    """Validation puts the averaged weights in the network, and has to put the others back."""
    plain, averaged = (tiny(averaging=averaging, batch_size=16).fit(*iris) for averaging in (0.0, 0.9))
    assert plain.history_["loss"] == averaged.history_["loss"]
    assert plain.history_["validation_brier"] != averaged.history_["validation_brier"]


def test_one_step_of_training_is_averaged_with_the_start(tiny, iris):
    """Early averages follow closely: after the first update a tenth is the start."""
    changes = {"early_stopping": False, "max_epochs": 1, "batch_size": 150, "learning_rate": 0.01}
    start = weights(tiny(**{**changes, "learning_rate": 1e-12}).fit(*iris))
    last, mean = (weights(tiny(averaging=averaging, **changes).fit(*iris)) for averaging in (0.0, 0.98))
    torch.testing.assert_close(mean, 0.1 * start + 0.9 * last, rtol=1e-4, atol=1e-6)


def test_weight_decay_shrinks_matrices_alone(tiny, iris):
    def fitted(weight_decay):
        return tiny(
            weight_decay=weight_decay, averaging=0.0, early_stopping=False, max_epochs=20, learning_rate=0.01
        ).fit(*iris)

    def size(classifier):
        return classifier.model_.network.fusion.weight.norm()

    assert size(fitted(5.0)) < 0.7 * size(fitted(0.0))


def test_the_cosine_rate_covers_about_half_the_way_and_ends_near_zero(tiny, iris):
    def fit(**changes):
        return weights(tiny(early_stopping=False, averaging=0.0, max_epochs=20, **changes).fit(*iris))

    start, constant, cosine = fit(learning_rate=1e-12), fit(), fit(learning_rate_schedule="cosine")
    assert 0.3 < (cosine - start).norm() / (constant - start).norm() < 0.9


def test_divergence_is_an_error_that_names_the_remedy(tiny, iris):
    with pytest.raises(
        FloatingPointError,
        match=r"Got a loss of nan: training diverged; use a smaller learning_rate \(now 1e\+30\)",
    ):
        tiny(learning_rate=1e30, max_epochs=5).fit(*iris)


def test_a_verbose_fit_shows_its_progress(tiny, iris, capsys):
    tiny(verbose=2).fit(*iris)
    assert "3/3" in capsys.readouterr().err
    tiny().fit(*iris)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "changes", [{}, {"batch_size": 16}, {"batch_size": 7, "n_members": 3}, {"early_stopping": False}]
)
def test_batches_of_any_size_train_on_few_rows(tiny, iris, changes):
    """No batch is dropped for being small: 9 rows train too."""
    X, y = iris
    rows = np.r_[:3, 50:53, 100:103]
    classifier = tiny(max_epochs=60, learning_rate=0.01, **changes).fit(X[rows], y[rows])
    assert classifier.score(X[rows], y[rows]) > 0.8


def test_max_steps_bounds_the_updates(tiny, iris):
    assert tiny(early_stopping=False, batch_size=150, max_epochs=10, max_steps=4).fit(*iris).n_iter_ == 4
    assert tiny(early_stopping=False, batch_size=150, max_epochs=3, max_steps=4).fit(*iris).n_iter_ == 3


def test_groups_of_members_with_a_row_more_or_less_take_their_last_step_together(tiny):
    X = np.random.default_rng(0).normal(size=(99, 6))
    y = (X[:, 0] > 0).astype(int)
    classifier = tiny(n_members=6, max_epochs=50, max_steps=34, batch_size=5, n_iter_no_change=None)
    # 82 and 83 rows would be 16 and 17 batches
    assert classifier.fit(X, y).n_iter_ == 3
    assert np.isfinite(classifier.history_["loss"]).all()


def test_max_steps_may_end_within_an_epoch(tiny, iris):
    changes = {"early_stopping": False, "averaging": 0.0, "batch_size": 30, "max_epochs": 1}
    assert not torch.equal(weights(tiny(max_steps=3, **changes).fit(*iris)), weights(tiny(**changes).fit(*iris)))


@pytest.mark.parametrize("time_sampling", ["terminal", "uniform", "biased", "mixed", "logit_normal"])
def test_every_time_sampling_learns(tiny, iris, time_sampling):
    classifier = tiny(time_sampling=time_sampling, max_epochs=60, batch_size=32, learning_rate=0.01).fit(*iris)
    assert classifier.score(*iris) > 0.85
