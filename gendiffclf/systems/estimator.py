"""Base class of the systems' estimators: saving, loading, pickling and scikit-learn tags."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .model_folder import load_system, save_system


class ClipEstimator(BaseEstimator):
    """Base class of estimators on clips with one trained module, `network_`."""

    network_: Any
    _check_parameters: Callable[[Mapping[str, Any]], None]

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """
        Save the fitted estimator to a folder of safetensors and JSON files; nothing is pickled.

        Parameters
        ----------
        folder : path-like
            Written under a temporary name, and renamed when it is complete.
        overwrite : bool, default=False
            Whether to replace an existing model.

        Raises
        ------
        ValueError
            If the folder exists and may not be replaced.
        TypeError
            If the encoder is a loaded model; pass its folder instead.

        Notes
        -----
        The folder holds everything, including a tuned encoder or language model, except the weights of a frozen encoder:
        `load` finds these by name, and prediction checks that they are the same. Runtime parameters, such as `device`,
        `cache` and `checkpoints`, are not saved.
        """
        check_is_fitted(self)
        parameters, fitted = self._description()
        save_system(folder, type(self).__name__, parameters, fitted, self.network_.state_dict(), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], **changes: Any) -> Self:
        """
        Load an estimator from a folder that `save` wrote.

        Parameters
        ----------
        folder : path-like
        **changes
            Parameters to set, such as `device`, `cache`, or `encoder`, if the same weights have another path here.

        Returns
        -------
        estimator : object of this class
            Ready to predict, on any device.

        Raises
        ------
        ValueError
            If the folder holds no model of this class, a damaged one, or one of a newer format.
        """
        parameters, fitted, weights = load_system(folder, cls.__name__)
        estimator = cls(**{**cls._parameters(parameters), **changes})
        try:
            estimator._restore(fitted)
            network = estimator.network_.eval()
            if set(weights) != set(network.state_dict()):
                raise KeyError("names of weights")
            network.load_state_dict(weights, strict=False)  # tied weights are saved once
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"Got folder={str(folder)!r} with weights that do not fit its description, expected those of one model; copy "
                "the whole folder again."
            ) from error
        estimator.__dict__.update(fitted)
        return estimator

    def _checked_parameters(self) -> dict[str, Any]:
        """Return the parameters, or raise a ValueError that names the first one out of its range."""
        params = self.get_params(deep=False)
        self._check_parameters(params)
        return params

    def _description(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and the fitted attributes except weights, of types that `save_system` accepts."""
        weights = ("network_", "tokenizer_")
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_") and name not in weights}
        return self.get_params(deep=False), {**fitted, "network": self.network_.settings}

    @classmethod
    def _parameters(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Convert parameters read from a folder back."""
        return stored

    def _restore(self, fitted: dict[str, Any]) -> None:
        """Create the network without its weights, and take out of `fitted` what is not an attribute as it is."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Move the weights to the CPU, so that pickles load on any machine."""
        state = super().__getstate__()
        if "network_" in state:
            state = {**state, "network_": copy.deepcopy(state["network_"]).cpu()}
        return state

    def __sklearn_tags__(self) -> Tags:
        """Declare an estimator on lists of paths or arrays."""
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
