"""Normalisation of features by speaker."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from ..validation import check_integer, check_none_missing, first_few


class SpeakerNormalizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """
    Standardise features within each speaker, which leaves how a clip differs from the same speaker's other clips.

    Parameters
    ----------
    n_clips : int >= 2 or None, default=None
        Number of clips of a speaker, in the order of the rows, from which mean and standard deviation are computed. None
        uses all of them, including those to be predicted. A number models a system that has recorded a speaker's first
        few clips: later clips do not affect earlier ones.

    Notes
    -----
    No labels are used and nothing is learnt in `fit`, so new speakers are normalised like those of training. Two things
    are assumed: the speaker of each clip is known, also at prediction, and the clips used for the statistics are of
    similar content for all speakers; a speaker heard only in anger is normalised to neutral. So labels that belong to
    speakers, such as gender, are harder to predict. The features of a speaker with a single clip become zeros.

    `groups` are requested by default, so with `sklearn.set_config(enable_metadata_routing=True)` a pipeline's `fit`,
    `predict` and `score` pass them on. Without routing, or in functions that pass nothing to `predict`, such as
    `cross_val_predict`, normalise beforehand: as the statistics of a speaker never depend on others' clips, this is
    equivalent if folds keep speakers together. `gendiffclf.speech` passes the column `speaker` automatically.

    Rows of NaN, as featurisers return for broken clips, are ignored and stay NaN.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0], [3.0], [100.0], [104.0]])
    >>> SpeakerNormalizer().fit_transform(X, groups=["anna", "anna", "ben", "ben"]).ravel()
    array([-1.,  1., -1.,  1.])
    """

    # Requested by default, since they are required.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, n_clips: int | None = None) -> None:
        self.n_clips = n_clips

    def fit(self, X: ArrayLike, y: Any = None, groups: ArrayLike | None = None) -> SpeakerNormalizer:
        """
        Check the parameters and record the number of features.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
            Features.
        y, groups : array-like of shape (n,), default=None
            Label and speaker of each row; only checked.

        Returns
        -------
        self : object
            The transformer.

        Warns
        -----
        UserWarning
            If all rows of each speaker have the same label.
        """
        self._check(X, reset=True)
        if y is not None and groups is not None:
            _warn_of_labels_of_speakers(_speakers(groups), np.asarray(y))
        return self

    def transform(self, X: ArrayLike, groups: ArrayLike | None = None) -> NDArray[np.floating]:
        """
        Normalise features within each speaker.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
            Features.
        groups : array-like of shape (n,)
            Speaker of each row.

        Returns
        -------
        features : ndarray of the shape of X
            In the precision of `X`, float32 or float64.

        Raises
        ------
        ValueError
            If `groups` is None, lacks the speaker of a row, or its length differs from that of `X`.

        Warns
        -----
        UserWarning
            If a speaker has a single clip.
        """
        rows = self._check(X, reset=False)
        if groups is None:
            raise ValueError(
                "Got groups=None, expected the speaker of each row; pass groups (inside a pipeline by metadata routing), or "
                "a table with the column speaker."
            )
        names, speaker_of = np.unique(_speakers(groups), return_inverse=True)
        check_consistent_length(rows, speaker_of)
        flat = rows.reshape(len(rows), -1)  # (n, layers, d) -> (n, layers · d)
        result, single = np.empty_like(flat), []
        for number, name in enumerate(names):
            indices = np.flatnonzero(speaker_of == number)
            valid = indices[~np.isnan(flat[indices]).any(axis=1)]
            if len(valid) == 1:
                single.append(str(name))
            result[indices] = np.nan
            if len(valid):
                scaler = StandardScaler().fit(flat[valid[: self.n_clips]])
                result[indices] = scaler.transform(flat[indices])
        if single:
            warnings.warn(
                f"Got a single clip of {len(single)} of {len(names)} speakers ({first_few(single, 5)}), expected at least 2; "
                "their features become zeros. Add clips of these speakers, which need no label.",
                stacklevel=2,
            )
        return result.reshape(rows.shape)

    def fit_transform(
        self, X: ArrayLike, y: Any = None, groups: ArrayLike | None = None, **fit_params: Any
    ) -> NDArray[np.floating]:
        """
        Check and normalise.

        Parameters
        ----------
        X, groups : array-like
            As in `transform`.
        y : array-like of shape (n,), default=None
            As in `fit`.
        **fit_params
            Further arguments of `fit`.
        """
        return self.fit(X, y, groups, **fit_params).transform(X, groups=groups)

    def __sklearn_tags__(self) -> Tags:
        """Declare a stateless transformer that accepts NaN."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check(self, X: ArrayLike, *, reset: bool) -> NDArray[np.floating]:
        check_integer("n_clips", self.n_clips, 2, also=(None,))
        types = [np.float64, np.float32]
        return np.asarray(
            validate_data(self, X, reset=reset, dtype=types, allow_nd=True, ensure_all_finite="allow-nan")
        )


def _speakers(groups: ArrayLike) -> NDArray[np.str_]:
    """Speakers of the rows as strings; an error if one is missing."""
    speakers = column_or_1d(groups, dtype=object)  # in an array of strings, NaN would be one
    check_none_missing("groups", speakers)
    return speakers.astype(str)


def _warn_of_labels_of_speakers(speakers: NDArray[np.str_], labels: NDArray[Any]) -> None:
    """Warn if labels differ between speakers, but never between the rows of one."""
    if labels.shape != speakers.shape:  # several targets
        return
    pairs = set(zip(speakers, labels.tolist(), strict=True))
    n_speakers, n_labels = (len(set(names)) for names in zip(*pairs, strict=True))
    if n_labels > 1 and len(pairs) == n_speakers < len(speakers):
        warnings.warn(
            f"Got labels that are the same for all clips of each of {n_speakers} speakers, expected different ones, since "
            "normalisation by speaker removes most differences between speakers; leave out SpeakerNormalizer (--normalize).",
            stacklevel=3,
        )
