"""A time limit and interrupts, by a clock that the tests move."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

from gendiffclf import LearnedPath, fitting
from gendiffclf.training import budget, loop
from gendiffclf.training.budget import Budget


@pytest.fixture
def now(monkeypatch):
    """The time, in a list; each update of the network takes a second."""
    time, update = [0.0], loop._Learner.update

    def timed(self, step):
        time[0] += 1
        return update(self, step)

    monkeypatch.setattr(budget, "perf_counter", lambda: time[0])
    monkeypatch.setattr(loop._Learner, "update", timed)
    return time


def interrupt_at(monkeypatch, number):
    update = loop._Learner.update

    def interrupted(self, step):
        if step == number:
            raise KeyboardInterrupt
        return update(self, step)

    monkeypatch.setattr(loop._Learner, "update", interrupted)


def test_a_budget_counts_from_its_start(now):
    found = Budget(10)
    now[0] = 4
    assert found.spent == 4
    assert not found.is_short_of(6)
    assert found.is_short_of(6.1)
    assert not Budget().is_short_of(1e9)


@pytest.mark.parametrize("estimator", ["both", "network"])
def test_the_network_trains_as_long_as_there_is_time(tiny, iris, now, estimator):
    classifier = tiny(estimator=estimator, max_steps=500, time_limit=25).fit(*iris)
    assert classifier.n_iter_ == 25
    assert classifier.history_["stopped_by"] == "time_limit"
    assert classifier.history_["step"] == [10, 20, 25]
    short = tiny(estimator=estimator, max_steps=25).fit(*iris)
    assert short.history_["stopped_by"] == "max_steps"
    np.testing.assert_array_equal(classifier.predict_proba(iris[0]), short.predict_proba(iris[0]))


def test_without_time_for_the_network_the_kernel_is_alone(tiny, iris, monkeypatch):
    times = iter(range(1000))
    monkeypatch.setattr(budget, "perf_counter", lambda: 10 * next(times))
    with pytest.warns(UserWarning, match="Got time_limit=5 seconds, which the kernel used up; .*; raise the limit, or"):
        classifier = tiny(time_limit=5).fit(*iris)
    assert classifier.network_ is None
    assert classifier.history_["stopped_by"] == "time_limit"
    alone = tiny(estimator="kernel").fit(*iris)
    np.testing.assert_array_equal(classifier.predict(iris[0]), alone.predict(iris[0]))
    for changes in ({"estimator": "network"}, {"path": LearnedPath(n_steps=3, time_width=8)}):
        assert tiny(time_limit=5, **changes).fit(*iris).n_iter_ == 1  # these need a network


@pytest.mark.parametrize(
    ("limit", "wanted", "n_updates"), [(15, [50], 13), (18, [50, 100], 14), (60, [50, 100, 120], 54)]
)
def test_the_kernel_grows_as_long_as_there_is_time(tiny, now, monkeypatch, limit, wanted, n_updates):
    fit_kernel, seen = fitting.fit_kernel, []

    def timed(*rows, **settings):
        seen.append(settings["n_centers"])
        now[0] += 2
        return fit_kernel(*rows, **settings)

    monkeypatch.setattr(fitting, "fit_kernel", timed)
    monkeypatch.setattr(fitting, "LEAST_CENTERS", 50)
    X, y = make_classification(120, random_state=0)
    limited = tiny(time_limit=limit, max_steps=500, patience=500).fit(X, y)
    assert seen == wanted
    assert len(limited.kernel_.centers) == wanted[-1]
    assert limited.n_iter_ == n_updates
    if wanted[-1] == 120:
        free = tiny(max_steps=n_updates, patience=500).fit(X, y)
        np.testing.assert_array_equal(limited.predict_proba(X), free.predict_proba(X))


def test_an_interrupt_keeps_the_best_so_far(tiny, iris, monkeypatch):
    expected = tiny(max_steps=20).fit(*iris)
    interrupt_at(monkeypatch, 24)
    with pytest.warns(UserWarning, match=r"Got an interrupt; the network's weights after update \d+ are"):
        classifier = tiny(max_steps=500).fit(*iris)
    assert classifier.history_["stopped_by"] == "interrupt"
    assert classifier.n_iter_ == 20
    np.testing.assert_array_equal(classifier.predict_proba(iris[0]), expected.predict_proba(iris[0]))


def test_an_interrupt_before_the_first_validation(tiny, iris, monkeypatch):
    interrupt_at(monkeypatch, 2)
    with pytest.warns(UserWarning, match="the kernel is alone"):
        assert tiny(max_steps=500).fit(*iris).network_ is None
    with pytest.raises(KeyboardInterrupt, match="before its first validation"):
        tiny(max_steps=500, estimator="network").fit(*iris)


def test_a_second_interrupt_is_for_good(tiny, iris, monkeypatch):
    def second(*_):
        raise KeyboardInterrupt

    interrupt_at(monkeypatch, 15)
    monkeypatch.setattr(fitting, "combine", second)
    classifier = tiny(max_steps=500)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*iris)
    assert not hasattr(classifier, "classes_")


def test_the_memory_of_the_kernel_is_bounded_by_its_rows(tiny, iris):
    sizes = [tiny(estimator="kernel", n_centers=m).fit(*iris).history_["kernel_bytes"] for m in (20, 40)]
    assert 0 < sizes[0] < sizes[1] < 2.1 * sizes[0]
    assert tiny(estimator="network").fit(*iris).history_["kernel_bytes"] == 0
