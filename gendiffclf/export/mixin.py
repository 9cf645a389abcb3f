"""Export of a fitted classifier: ONNX files and model cards."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted


class ExportMixin:
    """Export methods of the classifier."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def to_onnx(self, path: str | PathLike[str]) -> None:
        """
        Export the whole predictor to an ONNX file with standard operators (opset 18).

        The input `X` is float32, of shape (n, d) or (n, layers, d), with NaN for missing values; the outputs are `label` (n,)
        and `probabilities` (n, n_classes), float32. For float32 rows these agree with `predict_proba` to 1e-5 (for more than 32
        rows, with `precision="float64"`), and to 1e-4 on learned paths, whose network rounds to float32 at every step. Integer
        labels become int64. `load_predictor` reads the file without torch.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is complete.

        Raises
        ------
        IsADirectoryError, FileNotFoundError
            If the path is a folder, or in a folder that does not exist.
        TypeError
            If labels are neither numbers, booleans nor strings.
        ImportError
            If onnx or onnxscript is not installed.

        Notes
        -----
        For a classifier fitted to a DataFrame with strings or categories, the input is the encoded matrix,
        `table_encoder_.transform(X)`. The file does not validate its input as `predict_proba` does; `load_predictor` does, and
        encodes DataFrames.
        """
        from ..files import atomic_file
        from ..persistence import check_place
        from .graph import onnx_model

        check_is_fitted(self, "classes_")
        check_place(Path(path))
        with atomic_file(path, binary=True) as file:
            file.write(onnx_model(self).SerializeToString())

    def write_model_card(self, path: str | PathLike[str], y: ArrayLike | None = None) -> Path:
        """
        Write `model_card.md` next to a model's file: data, classes, held-out measures, parameters and versions.

        Parameters
        ----------
        path : path-like
            The model's file, as passed to `save` or `to_onnx`.
        y : array-like of shape (n,), optional
            Labels passed to `fit`. If given, the card includes accuracy, log-loss and calibration error on held-out rows;
            neither the labels nor `held_out_proba_` are saved in files.

        Returns
        -------
        Path
            Path of the card.

        Raises
        ------
        ValueError
            If `y` has too few labels, or others than `fit` has seen, or the classifier has no held-out estimates. Labels in
            another order than in `fit` are no error, but give wrong measures.
        IsADirectoryError, FileNotFoundError
            If the path is a folder, or in a folder that does not exist.
        """
        from ..files import atomic_file
        from ..persistence import check_place
        from .card import model_card

        check_is_fitted(self, "classes_")
        check_place(Path(path))
        card = Path(path).with_name("model_card.md")
        with atomic_file(card) as file:
            file.write(model_card(self, Path(path).name, y))
        return card
