"""Learning from rows that come later, in two ways: in closed form after `fit`, by gradient steps without one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils import check_random_state

from . import parameters as _parameters
from .preprocessing import FeatureScaler
from .training.method import training_method
from .validation import checked_rows, class_factors

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from .model import TransportModel
    from .training.calibration import Calibration
    from .training.trainer import TrainingRows


class IncrementalMixin:
    """`partial_fit` of the classifier, on the attributes that `fit` sets."""

    if TYPE_CHECKING:
        classes_: np.ndarray
        code_index_: np.ndarray
        scaler_: FeatureScaler
        model_: TransportModel
        calibration_: Calibration
        gram_: torch.Tensor | None
        history_: dict[str, list]
        n_iter_: int
        best_epoch_: int
        _training_state: dict[str, Any] | None
        _class_size: float
        _code_kind: str
        _class_counts: np.ndarray

        def __getattr__(self, name: str) -> Any: ...

    @training_method
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """
        Learn from more rows, also of classes never seen before.

        A class that is new gets the next free code; no code, and no shape in the network, changes.

        After `fit`, the rows move the network's last linear map alone, in closed form, with the old rows represented by the
        second moments kept from training (recursive least squares): what was learnt is kept, and the order of calls hardly
        matters. The first rows of a class count together as much as an average class of the training rows.

        Without a `fit` before, each call is one epoch of gradient steps over the rows given, and the first call sets the
        standardisation of features.

        A `class_weight` multiplies the weights of the rows as in `fit`. "balanced" goes by all rows so far, those of the call
        included, and earlier rows keep the weights they had; after `fit`, the first rows of a class have an average class'
        weight as they are. If a call fails, the classifier is as it was before.

        In a launched process group, a call without a `fit` before is one of all processes, as `fit` is; after `fit`, each process
        computes for itself.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
            Features.
        y : array-like of shape (n,)
            Labels.
        classes : array-like of shape (n_classes,), optional
            Labels to expect; those in `y` by default. Further ones can come in any later call.
        sample_weight : array-like of shape (n,), optional
            Non-negative weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; if a label is not among `classes`, where they are given; and after a `fit` with another objective than
            "target", for which there is no closed form.
        """
        from .training.distributed import Processes
        from .training.folds import distinct_rows

        first = not hasattr(self, "model_")
        # The closed form is computed by each process for itself, like a prediction.
        processes = Processes.launched() if first or self._training_state is not None else Processes()
        seed = processes.gathered(int(check_random_state(self.random_state).randint(2**31)) if first else 0)[0]
        with processes.agreement(self) as told:
            params = _parameters.checked_parameters(self)
            if not first:
                self._check_closed_form()
            rows, y, weight, _ = checked_rows(self, X, y, sample_weight, None if first else self.scaler_.center.shape)
            announced = np.unique(y if classes is None else np.asarray(classes))
            told.update(X=rows, y=y, classes=announced, sample_weight=weight)
            told["model_"] = [] if first else list(self.model_.state_dict().values())
            if not first:
                self._check_label_type(announced)
            unknown = np.setdiff1d(y, announced if first else np.union1d(announced, self.classes_))
            if classes is not None and len(unknown):
                raise ValueError(
                    f"Got labels {unknown.tolist()} in y, expected labels among classes={announced.tolist()}."
                )
        kept, weight = distinct_rows(rows, np.unique(y, return_inverse=True)[1][:, None], weight)
        y = y[kept]
        if first:
            self.classes_, self.code_index_ = announced, np.arange(len(announced))
            self._class_counts = np.zeros(len(announced))
            self.scaler_ = FeatureScaler.fit(rows, weight, self.scaling, kept)
            self._create_model(params, rows.shape[1:], seed)
            self._start_stream(seed)
        else:  # both are changed in place
            self.model_, self._training_state = copy.deepcopy((self.model_, self._training_state))
        self._add_classes(announced)
        labels = np.searchsorted(self.classes_, y)
        new = self._class_counts[labels] == 0
        self._class_counts = self._class_counts + np.bincount(labels, weight, minlength=len(self.classes_))
        factors = class_factors(self.class_weight, self.classes_, self._class_counts, labels, weight)
        if self._training_state is None:
            if self.class_weight == "balanced":
                factors[new] = 1
            for number in np.unique(labels[new]):
                of_class = labels == number
                weight[of_class] *= self._class_size / weight[of_class].sum()
            self._refit_last_map(self._training_rows(rows, labels, weight * factors, kept), weight * factors)
        else:
            self._stream_epoch(params, self._training_rows(rows, labels, weight * factors, kept))
        return self

    def _check_closed_form(self) -> None:
        objective = self.model_.settings.objective
        if self._training_state is None and objective != "target":
            raise ValueError(
                f"Got objective={objective!r} in the fit before partial_fit, expected 'target', whose last map has a closed "
                "form; fit with objective='target', fit again on old and new rows, or call partial_fit without a fit before."
            )

    def _refit_last_map(self, data: TrainingRows, weight: np.ndarray) -> None:
        import torch

        from .training.few_shot import refit_last_map

        # In the units of the Gram matrix: `data.weight` has the mean 1, whatever the rows count for.
        counts = torch.as_tensor(weight).to(data.weight)
        assert self.gram_ is not None
        gram = refit_last_map(self.model_, self.gram_.to(data.weight), data.rows[:], data.codes[data.y], counts)
        self.gram_ = gram.cpu()

    def _start_stream(self, seed: int) -> None:
        from .training.calibration import Calibration

        self._training_state = {"seed": seed}
        self.gram_ = None
        self.n_iter_ = 0
        self.best_epoch_ = 0
        self.history_ = {"loss": [], "validation_brier": [], "seconds": []}
        self.calibration_ = Calibration()

    def _stream_epoch(self, params: dict[str, Any], data: TrainingRows) -> None:
        """One epoch of gradient steps, going on from the optimiser's state of the call before."""
        import time

        from .training.folds import Assignment
        from .training.trainer import Trainer

        started = time.perf_counter()
        state = self._training_state
        assert state is not None
        settings = _parameters.training_settings({**params, "max_steps": None, "max_epochs": 1}, data.weight.device)
        every, none = (np.arange(n) for n in (len(data.y), 0))
        n_members = self.model_.network.shape.n_members
        trainer = Trainer(
            self.model_, settings, Assignment([every] * n_members, [none] * n_members), state["seed"] + self.n_iter_
        )
        if "weights" in state:
            trainer.optimizer.load_state(state)
        loss, _ = trainer.epoch(data)
        trainer.trace()
        self._training_state = {"seed": state["seed"], **trainer.optimizer.state()}
        trainer.finish()
        seconds = trainer.processes.gathered(time.perf_counter() - started)[0]
        self.n_iter_ += 1
        self.best_epoch_ = self.n_iter_
        for name, value in zip(self.history_, (loss, None, seconds), strict=True):
            self.history_[name].append(value)

    def _check_label_type(self, labels: np.ndarray) -> None:
        """NumPy would turn numbers into text to put them into one array with text."""
        old, new = (type(found.tolist()[0]) for found in (self.classes_, labels))
        if not (old is new or {old, new} == {int, float}):
            raise ValueError(
                f"Got labels of type {new.__name__}, expected {old.__name__} as in classes_={self.classes_.tolist()}."
            )

    def _add_classes(self, labels: np.ndarray) -> None:
        """Give codes to the labels that have none."""
        from .transport.codes import CODES

        new = np.setdiff1d(labels, self.classes_)
        if len(new):
            both = np.concatenate([self.classes_, new])
            codes, width = CODES[self._code_kind](), self.model_.lift.shape[1]
            if len(both) > codes.capacity(width):
                raise ValueError(
                    f"Got {len(both)} classes with the new {new.tolist()}, but {self._code_kind!r} codes of width={width} "
                    f"hold at most {codes.capacity(width)}; fit again with width >= {codes.width_for(len(both))}."
                )
            order = np.argsort(both)
            index = np.concatenate([self.code_index_, self.code_index_.max() + 1 + np.arange(len(new))])
            self.classes_, self.code_index_ = both[order], index[order]
            self._class_counts = np.concatenate([self._class_counts, np.zeros(len(new))])[order]
