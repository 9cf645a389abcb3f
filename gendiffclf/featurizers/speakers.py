"""Features relative to each speaker's own average."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from ..validation import check_integer

N_SHOWN = 5


class SpeakerNormalizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """
    z-scores within each speaker: what is left is how a clip differs from that speaker's others.

    Parameters
    ----------
    n_clips : int >= 2 or None, default=None
        Clips of a speaker, in the order of the rows, that mean and standard deviation are taken from. None takes all of
        them, those to be predicted among them. With a number, later clips change nothing in earlier ones: it is what a
        system can do that has recorded a speaker's first few clips.

    Notes
    -----
    No labels are used and nothing is learnt in `fit`, so new speakers are normalised like those of training. This rests on two
    assumptions. The speaker of each clip is known, at prediction too. And the clips that the statistics come from are of
    similar content for all speakers: a speaker heard only in anger is normalised to neutral. Someone with a single clip
    gets zeros, which tell nothing.

    `groups` are requested by default, so with `sklearn.set_config(enable_metadata_routing=True)` a pipeline's `fit`,
    `predict` and `score` hand them on. Without routing, or in functions that pass nothing to `predict`, such as
    `cross_val_predict`, normalise before: with folds of whole speakers this is the same, as a speaker's statistics never
    depend on another's clips. `gendiffclf.speech` passes the column `speaker` by itself.

    Rows of NaN, which featurisers leave for broken clips, do not count and stay NaN.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0], [3.0], [100.0], [104.0]])
    >>> SpeakerNormalizer().fit_transform(X, groups=["anna", "anna", "ben", "ben"]).ravel()
    array([-1.,  1., -1.,  1.])
    """

    # Requested by default, since the transformer can do nothing without them.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, n_clips: int | None = None) -> None:
        self.n_clips = n_clips

    def fit(self, X: ArrayLike, y: Any = None, groups: ArrayLike | None = None) -> SpeakerNormalizer:
        """
        Check the parameters and note the number of features.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
            Features.
        y, groups : object, default=None
            Ignored.

        Returns
        -------
        self : object
            The transformer.
        """
        self._check(X, reset=True)
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
            If `groups` are missing or of another length.

        Warns
        -----
        UserWarning
            If a speaker has a single clip.
        """
        rows = self._check(X, reset=False)
        if groups is None:
            raise ValueError(
                "Got groups=None, expected the speaker of each row; pass groups, by metadata routing inside a pipeline, or "
                "a table with the column speaker."
            )
        names, speaker_of = np.unique(column_or_1d(groups).astype(str), return_inverse=True)
        check_consistent_length(rows, speaker_of)
        flat = rows.reshape(len(rows), -1)  # (n, layers, d) -> (n, layers · d)
        found, alone = np.empty_like(flat), []
        for number, name in enumerate(names):
            mine = np.flatnonzero(speaker_of == number)
            whole = mine[~np.isnan(flat[mine]).any(axis=1)]
            if len(whole) == 1:
                alone.append(str(name))
            found[mine] = self._normalized(flat, whole, mine)
        if alone:
            shown = ", ".join(alone[:N_SHOWN]) + (", …" if len(alone) > N_SHOWN else "")
            warnings.warn(
                f"Got 1 clip of {len(alone)} of {len(names)} speakers ({shown}), expected at least 2 for statistics; their "
                "features become zeros. Add clips of theirs, which need no label.",
                stacklevel=2,
            )
        return found.reshape(rows.shape)

    def fit_transform(
        self, X: ArrayLike, y: Any = None, groups: ArrayLike | None = None, **fit_params: Any
    ) -> NDArray[np.floating]:
        """
        Check and normalise.

        Parameters
        ----------
        X, groups : array-like
            As in `transform`.
        y : object, default=None
            Ignored.
        """
        return self.fit(X, y, **fit_params).transform(X, groups=groups)

    def __sklearn_tags__(self) -> Tags:
        """Stateless, and indifferent to rows of NaN."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check(self, X: ArrayLike, *, reset: bool) -> NDArray[np.floating]:
        if self.n_clips is not None:
            check_integer("n_clips", self.n_clips, 2)
        types = [np.float64, np.float32]
        return np.asarray(
            validate_data(self, X, reset=reset, dtype=types, allow_nd=True, ensure_all_finite="allow-nan")
        )

    def _normalized(self, flat: NDArray[Any], whole: NDArray[Any], mine: NDArray[Any]) -> NDArray[Any]:
        """Rows `mine` of one speaker by the statistics of the first rows of `whole`."""
        if not len(whole):
            return np.full_like(flat[mine], np.nan)
        return np.asarray(StandardScaler().fit(flat[whole[: self.n_clips]]).transform(flat[mine]))
