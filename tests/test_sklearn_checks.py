"""scikit-learn's own checks of estimators, none left out."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from gendiffclf import GenerativeTransportClassifier

EXPECTED_FAILURES: dict[str, str] = {}
"""Checks that cannot hold, with the mathematical reason; the test at the end counts them."""


class StreamedTransportClassifier(GenerativeTransportClassifier):
    """Trains by `partial_fit` alone: each call of `fit` starts anew and makes `max_epochs` calls."""

    def fit(self, X, y, sample_weight=None):
        """Stream the rows."""
        if hasattr(self, "model_"):
            del self.model_
        for _ in range(self.max_epochs):
            self.partial_fit(X, y, sample_weight=sample_weight)
        return self


@pytest.fixture(autouse=True)
def _array_api(monkeypatch):
    """Without this scikit-learn skips its check of array API input."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


@parametrize_with_checks(
    [
        GenerativeTransportClassifier(max_epochs=4),
        GenerativeTransportClassifier(max_epochs=4, n_members=3),
        GenerativeTransportClassifier(max_epochs=4, tokenizer="chunks", n_members=2),
        StreamedTransportClassifier(max_epochs=12, learning_rate=0.01, n_members=2),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_estimator_check(estimator, check):
    check(estimator)


def test_no_check_is_exempted():
    assert len(EXPECTED_FAILURES) == 0
