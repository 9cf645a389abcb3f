"""A fitted classifier in files and pickles."""

from __future__ import annotations

import copy
import warnings
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

from sklearn.utils.validation import check_is_fitted

from ._version import VERSION


class SavingMixin:
    """`save`, `load` and pickles of the classifier."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def save(self, path: str | PathLike[str]) -> None:
        """
        Write the fitted classifier to one file: safetensors with a JSON header, nothing pickled.

        Parameters
        ----------
        path : path-like
            Replaced as a whole if it exists.

        Raises
        ------
        IsADirectoryError, FileNotFoundError
            If the path is a folder, or in a folder that does not exist.
        TypeError
            If labels are neither numbers, booleans nor strings, or a parameter has a value that JSON cannot hold.

        Notes
        -----
        A `random_state` that is a `RandomState` instance is written as None: it is a stream that other code draws from too,
        and a copy would repeat draws that were already made. Set it again before another `fit`.
        """
        from .persistence import save_classifier

        check_is_fitted(self, "classes_")
        save_classifier(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """
        Read a classifier written by `save`.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        GenerativeTransportClassifier

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, of another kind, or of another version of the format.
        """
        from .persistence import load_classifier

        return load_classifier(cls(), path)

    def __getstate__(self) -> dict[str, Any]:
        """Fitted tensors go to the CPU: a pickle from a GPU loads anywhere. Held-out estimates, one a training row, stay."""
        everything: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        state = {name: value for name, value in everything.items() if not name.startswith("held_out_")}
        if "_predictors" in state:
            state = {**state, "_predictors": {}, "_package_version": VERSION}
            if self.network_ is not None:
                state["network_"] = copy.deepcopy(self.network_).cpu()
            for name in ("kernel_", "logistic_", "gaussian_", "trees_"):
                if state[name] is not None:
                    state[name] = state[name].to("cpu")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Warn if another version of the package made the pickle."""
        state = dict(state)
        version = state.pop("_package_version", VERSION)
        if version != VERSION:
            warnings.warn(
                f"Got a pickle by gendiffclf {version}, read by {VERSION}: it may not work as it did; use save and load, or fit "
                "again.",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__(state)  # type: ignore[misc]
