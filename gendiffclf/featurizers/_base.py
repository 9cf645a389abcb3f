"""Base class of the speech featurisers: inputs, broken clips, caching, distribution and the scikit-learn interface."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import Any

import joblib
import numpy as np
import sklearn
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from tqdm import tqdm

from ..validation import check_choice, check_real, check_verbose, shown
from .audio import AudioError
from .cache import open_cache
from .engine import Encoder, Row, Rows, encode_items, with_nan
from .inputs import as_items

ON_ERROR = ("raise", "nan", "skip_with_warning")
# Several tasks per worker even out slow workers; more would leave batches half empty.
TASKS_PER_WORKER = 4
MAX_CLIPS_IN_WARNING = 5


class SpeechFeaturizer(TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """
    Base class of the featurisers: transforms a list of clips into an array with one row per clip, or a list of frames.

    A subclass has the parameters `sampling_rate`, `cache`, `n_jobs`, `on_error` and `verbose` in addition to its own, and
    implements `_encoders`. This class reads, caches and batches clips, handles errors and distributes the work.
    """

    sampling_rate: float | None
    cache: Any
    n_jobs: int | None
    on_error: str
    verbose: int
    failures_: list[AudioError]

    @abstractmethod
    def _encoders(self) -> list[Encoder]:
        """Check the parameters and return one encoder per device or thread; weights are loaded on first use."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Return the names of the features in a flattened row."""

    def _identity(self) -> dict[str, Any]:
        """Everything except the audio that the features depend on; without precision, which may depend on the device."""
        return {name: value for name, value in self._encoders()[0].identity.items() if name != "precision"}

    def _rows(self, stored: Rows) -> Rows:
        """Convert rows from their cached form to the one that `transform` returns."""
        return stored

    def _session(self, encoders: list[Encoder]) -> AbstractContextManager[None]:
        """Return a context manager with the process-wide settings needed while clips are encoded."""
        return nullcontext()

    def fit(self, X: Any, y: Any = None) -> SpeechFeaturizer:
        """
        Check the parameters and the type of `X`; nothing is learnt.

        Parameters
        ----------
        X : list of clips
            At least one clip, in a form that the class accepts. No clip is read.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : object
            The featuriser.

        Raises
        ------
        ValueError
            If a parameter is out of range, or `X` is empty or not a collection.
        """
        self._check(X)
        self._encoders()
        return self

    def transform(self, X: Any) -> Rows:
        """
        Turn clips into features.

        Parameters
        ----------
        X : list of clips
            In the forms that the class accepts.

        Returns
        -------
        features : ndarray, float32, or list of ndarray
            One row per clip, in order, whatever `on_error` is. Rows of failed clips are NaN, and `failures_` lists
            them. With `pooling="none"`, a list with the frames of each clip; a failed clip has one frame of NaN.

        Raises
        ------
        AudioError
            If a clip fails and `on_error="raise"`.
        ValueError
            If a parameter is out of range, if `X` is empty or not a collection, or if it has bare arrays and
            `sampling_rate` is None.
        """
        items = self._check(X)
        encoders = self._encoders()
        backend, _ = get_active_backend(prefer="threads")
        n_workers = joblib.effective_n_jobs(self.n_jobs)
        if getattr(backend, "supports_sharedmem", False) or n_workers == 1:
            rows, failures = self._encode(items, encoders)
        else:
            return_as = "generator" if backend.supports_return_generator else "list"
            rows, failures = self._encode_on_workers(items, n_workers, return_as)
        stored = with_nan(rows, encoders[0].row_shape)
        self.failures_ = failures
        if failures and self.on_error == "skip_with_warning":
            examples = " ".join(str(failure) for failure in failures[:MAX_CLIPS_IN_WARNING])
            more = len(failures) - MAX_CLIPS_IN_WARNING
            rest = f" And {more} more." if more > 0 else ""
            count = f"Skipped {len(failures)} of {len(items)} clips"
            warnings.warn(f"{count}; their rows are NaN and failures_ lists them. {examples}{rest}", stacklevel=2)
        return self._rows(stored)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """
        Names of the features.

        Parameters
        ----------
        input_features : object, default=None
            Ignored; clips have no feature names.

        Returns
        -------
        names : ndarray of str, object
            One name per value of a row; for rows of shape `(layers, d)`, in the order of `features.reshape(n, -1)`.
        """
        return np.asarray(self._names(), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        """Declare a stateless transformer of lists of paths or arrays."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _check(self, X: Any) -> list[Any]:
        check_choice("on_error", self.on_error, ON_ERROR)
        check_real("sampling_rate", self.sampling_rate, 0, low_open=True, also=(None,))
        is_integer = isinstance(self.n_jobs, Integral) and not isinstance(self.n_jobs, bool)
        if self.n_jobs is not None and (not is_integer or self.n_jobs == 0):
            raise ValueError(f"Got n_jobs={shown(self.n_jobs)}, expected None or an integer other than 0.")
        check_verbose(self.verbose)
        open_cache(self.cache)
        return as_items(X)

    def _check_container(self, n_axes: int) -> None:
        """Raise an error, before anything is encoded, if rows with several axes are to be put into a table."""
        config = getattr(self, "_sklearn_output_config", {})
        container = config.get("transform", sklearn.get_config()["transform_output"])
        if n_axes > 1 and container != "default":
            raise ValueError(
                f"Got set_output(transform={container!r}) with layers or frames, expected features of shape (n, d) for a "
                "table; choose one layer and a pooling, or set_output(transform='default')."
            )

    def _encode(self, items: list[Any], encoders: list[Encoder]) -> tuple[list[Row | None], list[AudioError]]:
        with self._session(encoders):
            return encode_items(
                items,
                encoders,
                open_cache(self.cache),
                sampling_rate=self.sampling_rate,
                n_threads=joblib.effective_n_jobs(self.n_jobs),
                stop_at_error=self.on_error == "raise",
                progress=type(self).__name__ if self.verbose else "",
            )

    def _encode_on_workers(
        self, items: list[Any], n_workers: int, return_as: str
    ) -> tuple[list[Row | None], list[AudioError]]:
        """Distribute the clips over the workers of the active joblib backend."""
        n_tasks = min(len(items), TASKS_PER_WORKER * n_workers)
        shares = [share.tolist() for share in np.array_split(np.arange(len(items)), n_tasks)]
        worker = copy.copy(self).set_params(n_jobs=None, verbose=0)
        tasks = (joblib.delayed(_encode_share)(worker, [items[i] for i in share]) for share in shares)
        done = joblib.Parallel(n_jobs=self.n_jobs, return_as=return_as)(tasks)
        rows: list[Row | None] = []
        failures: list[AudioError] = []
        with tqdm(total=len(items), unit="clip", desc=type(self).__name__, disable=not self.verbose) as bar:
            for share, (share_rows, failed) in zip(shares, done, strict=True):
                rows += share_rows
                failures += [failure.at(failure.source, share[failure.index]) for failure in failed]
                if failures and self.on_error == "raise":
                    raise failures[0]
                bar.update(len(share))
        return rows, failures


def _encode_share(worker: SpeechFeaturizer, items: list[Any]) -> tuple[list[Row | None], list[AudioError]]:
    """Encode the clips of one task; an error is returned, not raised, so that the caller can correct the clip's index."""
    with joblib.parallel_config("threading"):
        try:
            return worker._encode(items, worker._encoders())
        except AudioError as error:
            return [], [error]
