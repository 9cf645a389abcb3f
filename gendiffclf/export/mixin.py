"""What a fitted classifier writes for others: an ONNX file, and a model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import ArrayLike


class ExportMixin:
    """Files that other programs read."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def to_onnx(self, path: str | PathLike[str]) -> None:
        """
        Write the whole predictor to one ONNX file of standard operators (opset 18).

        Its input `X` is float32, of shape (n, d) or (n, layers, d), NaN where a value is missing; its outputs are `label` (n,)
        and `probabilities` (n, n_classes), float32. For float32 rows these are those of `predict_proba` to 1e-5 (for more than 32
        rows, with `precision="float64"`). Integer labels become int64. `load_predictor` reads the file without torch.

        Parameters
        ----------
        path : path-like
            Replaced as a whole if it exists.

        Raises
        ------
        IsADirectoryError, FileNotFoundError
            If the path is a folder, or in a folder that does not exist.
        TypeError
            If labels are neither numbers, booleans nor strings.
        ImportError
            If onnx or onnxscript are not installed.

        Notes
        -----
        Fitted to a DataFrame with strings or categories, `X` is the encoded matrix, `table_encoder_.transform(X)`. The file does
        not check its input as `predict_proba` does; `load_predictor` does, and encodes DataFrames.
        """
        from ..persistence import check_place, write_atomically
        from .graph import onnx_model

        check_is_fitted(self, "classes_")
        check_place(Path(path))
        write_atomically(Path(path), onnx_model(self).SerializeToString())

    def write_model_card(self, path: str | PathLike[str], y: ArrayLike | None = None) -> Path:
        """
        Write `model_card.md` beside a model's file: data, classes, held-out measures, parameters and versions.

        Parameters
        ----------
        path : path-like
            The model's file, as given to `save` or `to_onnx`.
        y : array-like of shape (n,), optional
            The labels given to `fit`. With them the card has accuracy, log-loss and calibration error of the held-out rows;
            neither labels nor `held_out_proba_` are kept in files.

        Returns
        -------
        Path
            The card.

        Raises
        ------
        ValueError
            If `y` is not as in `fit`, or is given to a classifier without held-out estimates.
        IsADirectoryError, FileNotFoundError
            If the path is a folder, or in a folder that does not exist.
        """
        from ..persistence import check_place, write_atomically
        from .card import model_card

        check_is_fitted(self, "classes_")
        check_place(Path(path))
        card = Path(path).with_name("model_card.md")
        write_atomically(card, model_card(self, Path(path).name, y).encode())
        return card
