"""What the systems' estimators share: folders, pickles, and scikit-learn's description of what they take."""

from __future__ import annotations

import copy
import os
from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .model_folder import load_system, save_system


class ClipEstimator(BaseEstimator):
    """An estimator of clips with one trained module, `network_`; a subclass says how it is described and restored."""

    network_: nn.Module

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """
        Write the fitted estimator to a folder of safetensors and JSON; nothing is pickled.

        Parameters
        ----------
        folder : path-like
            Appears under its name only when it is complete.
        overwrite : bool, default=False
            Whether a model that is there may be replaced.

        Raises
        ------
        ValueError
            If the folder exists.
        TypeError
            If the encoder is a loaded model; give it by its folder.

        Notes
        -----
        Weights of a frozen encoder are not in the folder: `load` finds them by name, and prediction checks that they are the
        same. Everything else is, a tuned encoder or language model too. Parameters of the run, such as `device`, `cache` and
        `checkpoints`, are not kept.
        """
        check_is_fitted(self)
        parameters, fitted = self._description()
        save_system(folder, type(self).__name__, parameters, fitted, self.network_.state_dict(), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], **changes: Any) -> Self:
        """
        Read a folder that `save` wrote.

        Parameters
        ----------
        folder : path-like
        **changes
            Parameters to set, such as `device`, `cache`, or `encoder`, the place of the same weights on this machine.

        Returns
        -------
        estimator : object of this class
            Ready to predict, on any device.

        Raises
        ------
        ValueError
            If the folder holds none, a damaged one, or one of a newer format.
        """
        parameters, fitted, weights = load_system(folder, cls.__name__)
        estimator = cls(**{**cls._parameters(parameters), **changes})
        try:
            estimator._restore(fitted, weights)
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"Got folder={str(folder)!r} with weights of another model than its description, expected those; copy the "
                "folder as a whole."
            ) from error
        estimator.network_.eval()
        return estimator

    def _description(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters, and what `fit` found besides weights, of types that `save_system` takes."""
        raise NotImplementedError

    @classmethod
    def _parameters(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Parameters from those of a folder."""
        return stored

    def _restore(self, fitted: dict[str, Any], weights: dict[str, Tensor]) -> None:
        """Set the fitted attributes."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Weights on the CPU, so that a pickle loads everywhere."""
        state = super().__getstate__()
        if "network_" in state:
            state = {**state, "network_": copy.deepcopy(state["network_"]).cpu()}
        return state

    def __sklearn_tags__(self) -> Tags:
        """Takes lists of paths or arrays and no table of numbers."""
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
