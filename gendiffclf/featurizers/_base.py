"""What every featuriser of speech shares: inputs, broken clips, the cache, clusters, and scikit-learn's manners."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import joblib
import numpy as np
import sklearn
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from tqdm import tqdm

from ..validation import check_choice, check_integer, check_real, shown
from .audio import AudioError
from .cache import open_cache
from .engine import Encoder, Rows, encode_items, join_rows
from .inputs import as_items

ON_ERROR = ("raise", "nan", "skip_with_warning")
# Enough tasks that one slow worker of a cluster keeps no one waiting, few enough that batches stay full.
TASKS_PER_WORKER = 4
WARNED_CLIPS = 5


class SpeechFeaturizer(TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """
    Base of the featurisers: a list of clips in, an array with one row for each clip out, or a list of their frames.

    A subclass names its parameters in `__init__`, among them `sampling_rate`, `cache`, `n_jobs`, `on_error` and
    `verbose`, and says how to encode in `_encoders`. Reading, caching, batching, errors and distribution are done here.
    """

    sampling_rate: float | None
    cache: Any
    n_jobs: int | None
    on_error: str
    verbose: int
    failures_: list[AudioError]

    @abstractmethod
    def _encoders(self) -> list[Encoder]:
        """Check the parameters and return an encoder for each device; costly parts are loaded when first used."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Return names of the features of a row, flattened."""

    def _rows(self, stored: Rows) -> Rows:
        """Return rows as the caller wants them, from rows as they are stored."""
        return stored

    def _session(self, encoders: list[Encoder]) -> AbstractContextManager[None]:
        """Return the settings of the process while clips are encoded."""
        return nullcontext()

    def fit(self, X: Any, y: Any = None) -> SpeechFeaturizer:
        """
        Check the parameters and the form of `X`; nothing is learnt.

        Parameters
        ----------
        X : list of clips
            At least one; see the class for what a clip may be. No clip is read.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : object
            The featuriser.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or `X` is empty or no collection.
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
            See the class for what a clip may be.

        Returns
        -------
        features : ndarray, float32, or list of ndarray
            One row for each clip, in order, whatever `on_error` says. Rows of clips that failed are NaN, and
            `failures_` lists them. With `pooling="none"` a list of the clips' frames, a failed clip one frame of NaN.

        Raises
        ------
        AudioError
            If a clip fails, with `on_error="raise"`.
        ValueError
            If a parameter is out of its range, `X` is empty or no collection, or it holds bare arrays of unknown rate.
        """
        items = self._check(X)
        backend, _ = get_active_backend(prefer="threads")
        n_workers = joblib.effective_n_jobs(self.n_jobs)
        if getattr(backend, "supports_sharedmem", False) or n_workers == 1:
            stored, failures = self._transform_here(items)
        else:
            in_order = "generator" if backend.supports_return_generator else "list"
            stored, failures = self._transform_elsewhere(items, n_workers, in_order)
        self.failures_ = failures
        if failures and self.on_error == "skip_with_warning":
            shown = " ".join(str(failure) for failure in failures[:WARNED_CLIPS])
            rest = f" And {len(failures) - WARNED_CLIPS} more." if len(failures) > WARNED_CLIPS else ""
            count = f"Skipped {len(failures)} of {len(items)} clips"
            warnings.warn(f"{count}; their rows are NaN and failures_ lists them. {shown}{rest}", stacklevel=2)
        return self._rows(stored)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """
        Names of the features.

        Parameters
        ----------
        input_features : object, default=None
            Ignored; clips have no features.

        Returns
        -------
        names : ndarray of str, object
            As many as a row has values; for rows of shape `(layers, d)` in the order of `features.reshape(n, -1)`.
        """
        return np.asarray(self._names(), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """There is nothing to fit."""
        return True

    def __sklearn_tags__(self) -> Tags:
        """Stateless; takes lists of paths or arrays and no table of numbers."""
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
        if self.sampling_rate is not None:
            check_real("sampling_rate", self.sampling_rate, 0, low_open=True)
        if self.n_jobs is not None and (not isinstance(self.n_jobs, int) or self.n_jobs == 0):
            raise ValueError(f"Got n_jobs={shown(self.n_jobs)}, expected None or an integer other than 0.")
        check_integer("verbose", self.verbose, 0)
        open_cache(self.cache)
        items = as_items(X)
        if not items:
            raise ValueError("Got X with 0 clips, expected at least 1.")
        return items

    def _check_container(self, n_axes: int) -> None:
        """Refuse, before anything is encoded, to put rows of several axes into a table."""
        config = getattr(self, "_sklearn_output_config", {})
        container = config.get("transform", sklearn.get_config()["transform_output"])
        if n_axes > 1 and container != "default":
            raise ValueError(
                f"Got set_output(transform={container!r}) with layers or frames, expected features of shape (n, d), as a "
                "table holds; choose one layer and a pooling, or set_output(transform='default')."
            )

    def _transform_here(self, items: list[Any]) -> tuple[Rows, list[AudioError]]:
        encoders = self._encoders()
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

    def _transform_elsewhere(self, items: list[Any], n_workers: int, in_order: str) -> tuple[Rows, list[AudioError]]:
        """Hand shares of the clips to the processes or machines of the joblib backend in force."""
        self._encoders()  # a wrong parameter raises here, not on some worker
        n_tasks = min(len(items), TASKS_PER_WORKER * n_workers)
        shares = [share.tolist() for share in np.array_split(np.arange(len(items)), n_tasks)]
        worker = copy.copy(self).set_params(n_jobs=None, verbose=0)
        tasks = (joblib.delayed(_transform_share)(worker, [items[i] for i in share]) for share in shares)
        done = joblib.Parallel(n_jobs=self.n_jobs, return_as=in_order)(tasks)
        rows, failures = [], []
        with tqdm(total=len(items), unit="clip", desc=type(self).__name__, disable=not self.verbose) as bar:
            for share, (share_rows, failed) in zip(shares, done, strict=True):
                rows.append(share_rows)
                failures += [failure.at(failure.source, share[failure.index]) for failure in failed]
                if failures and self.on_error == "raise":
                    raise failures[0]
                bar.update(len(share))
        return join_rows(rows), failures


def _transform_share(worker: SpeechFeaturizer, items: list[Any]) -> tuple[Rows, list[AudioError]]:
    """One task of a cluster; an error goes back as a result, so that the clip's number can be put right."""
    with joblib.parallel_config("threading"):
        try:
            return worker._transform_here(items)
        except AudioError as error:
            return np.empty(0, dtype=np.float32), [error]
