"""scikit-learn's own checks of estimators, none left out."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from gendiffclf import GenerativeTransportClassifier, LearnedPath

EXPECTED_FAILURES: dict[str, str] = {}
"""Checks that cannot hold, with the mathematical reason; the test at the end counts them."""

QUICK = {"max_steps": 5, "width": 32, "depth": 1, "n_members": 2}


@pytest.fixture(autouse=True)
def _array_api(monkeypatch):
    """Without this scikit-learn skips its check of array API input."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


@parametrize_with_checks(
    [
        GenerativeTransportClassifier(**QUICK),
        GenerativeTransportClassifier(**{**QUICK, "n_members": 3}, estimator="network"),
        GenerativeTransportClassifier(estimator="kernel"),
        GenerativeTransportClassifier(**QUICK, path=LearnedPath(n_steps=3, time_width=8)),
        GenerativeTransportClassifier(
            **QUICK,
            estimator="network",
            tokenizer="chunks",
            path=LearnedPath(n_steps=3, time_width=8, time_sampling="mixed"),
        ),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_estimator_check(estimator, check):
    check(estimator)


def test_no_check_is_exempted():
    assert len(EXPECTED_FAILURES) == 0
