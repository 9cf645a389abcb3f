"""The classifier: parameters, checks, and fit and predict as a few lines over the rooms below."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import parameters as _parameters
from .device import resolve_device
from .incremental import IncrementalMixin
from .preprocessing import FeatureScaler, lift_matrix
from .training.method import training_method
from .validation import check_choice, check_integer, checked_features, checked_rows, class_factors, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    import torch
    from numpy.typing import ArrayLike

    from .model import TransportModel
    from .training.trainer import TrainingRows


class GenerativeTransportClassifier(IncrementalMixin, ClassifierMixin, BaseEstimator):
    """
    Classify by carrying feature vectors to the codes of their classes with a generative model.

    A standardised row x1 is the end at t = 1 of a noisy path whose other end, at t = 0, is the code of the row's class. A
    transformer learns to estimate the code from a state on the path; prediction runs the path backwards and reads class
    probabilities off the estimate (Gen-SER, Wang et al., arXiv 2601.20573).

    Parameters
    ----------
    codes : {"sinusoidal", "paired", "one_hot", "random"}, default="sinusoidal"
        Codes of the classes (Eq. 2): one sine each (the paper's); sines and cosines; unit vectors; random orthogonal vectors.
    mean_schedule : {"logistic", "linear", "cosine"}, default="logistic"
        Mean position m(t) on the path (Eq. 6).
    steepness : float in [0, 200], default=10.0
        Steepness k of the logistic mean; 0 is linear. Not given in the paper.
    variance_schedule : {"bridge", "constant", "zero"}, default="bridge"
        Noise σ_t on the path (Eq. 7).
    sigma : float > 0, default=0.5
        Scale σ of the noise, in units of a standardised feature. Not given in the paper.
    objective : {"target", "velocity", "noise"}, default="target"
        What the network learns: the code (Eq. 8), the velocity (flow matching) or the noise (score matching).
    time_sampling : {"auto", "terminal", "uniform", "biased", "mixed", "logit_normal"}, default="auto"
        How training draws t: always t_max, where prediction starts; evenly (the paper's); more often near t_max; t_max for
        half of the draws; mostly in the middle. "auto" is "terminal" for the objective "target", which needs no other time
        for a single step, and "uniform" for the others, which say nothing about the code at t_max.
    t_min, t_max : float in [0, 1], default=0.001 and 1.0
        Earliest training time t_eps, and the time T where training ends and prediction starts. Not given in the paper.
    solver : {"exact", "euler", "midpoint", "stochastic"}, default="exact"
        How prediction steps from T to 0 (Eq. 9 to 11): in closed form for a frozen estimate; by Euler's method (the paper's);
        by the midpoint method (two network calls a step); with fresh noise at each step. Can be changed after `fit`.
    n_steps : int >= 1, default=1
        Steps N. Can be changed after `fit`. Probabilities are calibrated for the value at `fit`; more steps make them more
        confident, and after training at T alone, as with the default `time_sampling`, much less accurate.
    width : int or "auto", default="auto"
        Width L of the code space and of the network. "auto" takes 64, or what twice the number of classes needs, rounded
        up to a multiple of 16 times the heads.
    depth : int >= 1, default=2
        Transformer layers.
    n_heads : int >= 1, default=4
        Attention heads; must divide the width.
    feedforward_ratio : float > 0, default=1.0
        Width of the feed-forward state in widths.
    time_width : int >= 1, default=32
        Width of the time embedding.
    n_frequencies : int >= 0 or "auto", default="auto"
        Sines and cosines of each feature at so many learnt frequencies join the condition; 0 leaves them out. "auto" is 4, and
        80 divided by the number of features where these are few, but at most 16.
    frequency_scale : float > 0 or "auto", default="auto"
        Standard deviation of the initial frequencies, in turns per unit of a standardised feature. "auto" is 0.1, and more where
        features are fewer than 20: 0.1 times the root of 20 divided by their number, but at most 0.2.
    tokenizer : {"single", "layers", "chunks"}, default="single"
        Tokens of the transformer: one (the paper's), one more per conditioning layer, one more per `chunk_size` values.
    chunk_size : int >= 1, default=16
        Values per token of the "chunks" tokenizer.
    dropout : float in [0, 1), default=0.1
        Share of the feed-forward states dropped in training.
    n_members : int >= 1, default=6
        Networks trained at once; their estimates are averaged.
    cross_fit : bool, default=True
        Whether each of several members leaves out its own part of the rows, which then judges it. With `early_stopping`,
        every row so serves both for training and for choosing the epoch and the calibration.
    scaling : {"mixed", "quantile", "robust", "standard", "none"}, default="mixed"
        Standardisation of features: "quantile", by ranks to a normal distribution; "robust", by median and quartiles with a
        smooth clip at ±3; "standard", by mean and deviation; "none". With "mixed" every other member sees features by mean
        and deviation, with a smooth clip at ±6 and frequencies that start at 0, and the others by ranks.
    lift : {"orthogonal", "pad"}, default="orthogonal"
        Fixed map of the features into the code space: a random orthogonal one, or zeros appended.
    max_epochs : int >= 1, default=200
        Passes over the training rows at most.
    max_steps : int >= 1 or None, default=None
        Optimiser updates at most.
    batch_size : int >= 1, default=256
        Rows per update of each member.
    learning_rate : float > 0, default=0.004
        Of AdamW.
    learning_rate_schedule : {"constant", "cosine"}, default="constant"
        Rate over the course of `max_epochs`.
    weight_decay : float >= 0, default=0.0
        Of AdamW, on matrices.
    averaging : float in [0, 1), default=0.99
        Decay per update of the running average of the weights that prediction uses; 0 for the last weights.
    early_stopping : bool, default=True
        Whether to keep the epoch of the best validation Brier score and to fit the calibration of the probabilities.
    validation_fraction : float in (0, 0.5], default=0.1
        Share of the rows held out for that when members are not cross-fitted.
    n_iter_no_change : int >= 1 or None, default=10
        Epochs without a better validation score after which training stops; None runs all.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; "balanced" gives the rows of all classes one sum. See `partial_fit` for later rows.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the fit before.
    device : str, default="auto"
        Where to compute: "auto" is the first there is of cuda, mps and cpu. In a process group each process takes a CUDA device
        of its own.
    precision : {"auto", "float32", "bfloat16", "float64"}, default="auto"
        Of the matrix products in training, and on a CPU in its validation: "auto" is bfloat16 where the device has units for
        it, else float32; one seed can so give another model on another machine. Prediction is in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, folds, batches, times and noise; None draws one from NumPy's global generator.
    verbose : int, default=0
        1 shows a progress bar while fitting, 2 leaves it there.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class in the training weights.
    code_index_ : ndarray of shape (n_classes,)
        Number of each class' code; new classes get the next free one.
    n_features_in_ : int
        Features; for layered input the number of layers.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names, where `X` had them.
    n_iter_ : int
        Epochs run.
    best_epoch_ : int
        Epoch whose weights are kept, from 1.
    history_ : dict of list
        `"loss"`, `"validation_brier"` and `"seconds"` of each epoch.
    model_ : TransportModel
        The trained network with its lift.
    scaler_ : FeatureScaler
        The standardisation.
    calibration_ : Calibration
        Temperature and smoothing of the probabilities.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : A plain network with a softmax.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from gendiffclf import GenerativeTransportClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> classifier = GenerativeTransportClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> classifier.predict(X[:3])
    array([0, 0, 0])
    >>> classifier.predict_proba(X[:3]).shape
    (3, 3)
    """

    def __init__(
        self,
        *,
        codes: str = "sinusoidal",
        mean_schedule: str = "logistic",
        steepness: float = 10.0,
        variance_schedule: str = "bridge",
        sigma: float = 0.5,
        objective: str = "target",
        time_sampling: str = "auto",
        t_min: float = 0.001,
        t_max: float = 1.0,
        solver: str = "exact",
        n_steps: int = 1,
        width: int | str = "auto",
        depth: int = 2,
        n_heads: int = 4,
        feedforward_ratio: float = 1.0,
        time_width: int = 32,
        n_frequencies: int | str = "auto",
        frequency_scale: float | str = "auto",
        tokenizer: str = "single",
        chunk_size: int = 16,
        dropout: float = 0.1,
        n_members: int = 6,
        cross_fit: bool = True,
        scaling: str = "mixed",
        lift: str = "orthogonal",
        max_epochs: int = 200,
        max_steps: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 0.004,
        learning_rate_schedule: str = "constant",
        weight_decay: float = 0.0,
        averaging: float = 0.99,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = 10,
        class_weight: dict | str | None = None,
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.codes = codes
        self.mean_schedule = mean_schedule
        self.steepness = steepness
        self.variance_schedule = variance_schedule
        self.sigma = sigma
        self.objective = objective
        self.time_sampling = time_sampling
        self.t_min = t_min
        self.t_max = t_max
        self.solver = solver
        self.n_steps = n_steps
        self.width = width
        self.depth = depth
        self.n_heads = n_heads
        self.feedforward_ratio = feedforward_ratio
        self.time_width = time_width
        self.n_frequencies = n_frequencies
        self.frequency_scale = frequency_scale
        self.tokenizer = tokenizer
        self.chunk_size = chunk_size
        self.dropout = dropout
        self.n_members = n_members
        self.cross_fit = cross_fit
        self.scaling = scaling
        self.lift = lift
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_decay = weight_decay
        self.averaging = averaging
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> GenerativeTransportClassifier:
        """
        Create a classifier with a named set of parameters.

        Parameters
        ----------
        name : {"default", "gen-ser"}
            `"gen-ser"` is the network and recipe of the paper: at 1024 features in 24 conditioning layers it has 71,359,512
            parameters, of which 8,396,800 are queries and keys that one token makes useless and that are left out.
        **changes
            Parameters that differ from the preset's.

        Examples
        --------
        >>> GenerativeTransportClassifier.from_preset("gen-ser", max_steps=1000).width
        1024
        """
        check_choice("name", name, _parameters.PRESETS)
        return cls(**{**_parameters.PRESETS[name], **changes})

    @property
    def class_prior_(self) -> np.ndarray:
        """Share of each class in the training weights, (n_classes,)."""
        return self._class_counts / self._class_counts.sum()

    # ------------------------------------------------------------------ fit

    @training_method
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> GenerativeTransportClassifier:
        """
        Train on labelled rows.

        If that fails, the classifier is as it was before. In a launched process group of torch, all processes call `fit` with the
        same arguments, share the rows of every batch, and end with the same classifier.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
            Features, finite and dense. Of several layers the last is where transport starts, the others are the condition.
            Rows of NaN only, as featurisers leave for broken clips, are left out with a warning. Rows of a `numpy.memmap` of
            float32 or float64 stay on disk: batches are scaled as training asks for them, to the same result.
        y : array-like of shape (n,)
            Labels of any sortable type, at least two different ones.
        sample_weight : array-like of shape (n,), optional
            Non-negative weights. A row of weight 2 is the same as that row twice.
        groups : array-like of shape (n,), optional
            Rows of one group (a speaker, say) stay on one side of every validation split, so that the calibration holds for
            groups not seen in training.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or X or y are not as above, or there are more classes than the code space holds;
            and if processes of a group were given different arguments.
        RuntimeError
            If another process of the group found its arguments wrong.
        """
        import torch

        from .training.distributed import Processes
        from .training.few_shot import gram_matrix
        from .training.folds import assign_rows, distinct_rows
        from .training.loop import train
        from .training.progress import Progress

        processes = Processes.launched()
        seed = processes.gathered(int(check_random_state(self.random_state).randint(2**31)))[0]
        with processes.agreement(self) as told:
            params = _parameters.checked_parameters(self)
            continued = self.warm_start and hasattr(self, "model_")
            shape = self.scaler_.center.shape if continued else None
            rows, y, weight, group_of = checked_rows(self, X, y, sample_weight, shape, groups)
            classes, labels = np.unique(y, return_inverse=True)
            told.update(X=rows, y=[classes.tolist(), labels], sample_weight=weight, groups=group_of)
            told["model_"] = list(self.model_.state_dict().values()) if continued else []
            if len(classes) < 2:
                raise ValueError(
                    f"Got 1 class in y ({shown(classes[0])}), expected at least 2 classes; add rows of another class."
                )
            if continued:
                self._check_warm_start(params, classes)
                self.model_ = copy.deepcopy(self.model_)  # trained in place
            self.classes_ = classes
            self._class_counts = np.bincount(labels, weight)
            weight = weight * class_factors(self.class_weight, classes, self._class_counts, labels, weight)
            kept, weight = distinct_rows(rows, np.stack([labels, group_of], axis=1), weight)
            labels = labels[kept]

        rng = np.random.default_rng(seed)
        self._training_state: dict[str, Any] | None = None
        if not continued:
            self.code_index_ = np.arange(len(self.classes_))
            self.scaler_ = FeatureScaler.fit(rows, weight, self.scaling, kept)
            self._create_model(params, rows.shape[1:], seed)
        data = self._training_rows(rows, labels, weight, kept)
        settings = _parameters.training_settings(params, data.weight.device)
        result = train(
            self.model_,
            data,
            assign_rows(
                labels,
                self.n_members,
                rng,
                cross_fit=self.early_stopping and self.cross_fit,
                validation_fraction=self.validation_fraction if self.early_stopping else 0,
                groups=None if groups is None else group_of[kept],
            ),
            settings,
            seed,
            Progress(self.verbose if processes.rank == 0 else 0),
        )
        self.n_iter_, self.best_epoch_ = result.n_epochs, result.best_epoch
        self.history_, self.calibration_ = result.history, result.calibration
        self.gram_ = None
        if self.objective == "target":
            self.gram_ = gram_matrix(self.model_, data.rows, torch.as_tensor(weight).to(data.weight)).cpu()
        self._class_size = float(weight.sum() / len(self.classes_))
        return self

    def _create_model(self, params: dict[str, Any], feature_shape: tuple[int, int], seed: int) -> None:
        import torch

        from .model import TransportModel
        from .transport.codes import label_codes

        n_layers, n_features = feature_shape
        width = _parameters.code_width(params, len(self.classes_))
        label_codes(self.codes, len(self.classes_), width)  # raises where the space is too small
        self._code_kind = self.codes
        model = TransportModel(
            _parameters.network_shape(params, n_layers, n_features, width),
            _parameters.transport_settings(params),
            lift_matrix(self.lift, n_features, width, seed),
            torch.Generator().manual_seed(seed),
        )
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        self.model_ = model.to(resolve_device(self.device), dtype)

    def _check_warm_start(self, params: dict[str, Any], classes: np.ndarray) -> None:
        _parameters.check_same_network(params, self.model_.network.shape)
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"Got classes {classes.tolist()} with warm_start=True, expected {self.classes_.tolist()} as in the fit "
                "before; use partial_fit for new classes, or warm_start=False."
            )

    def _training_rows(self, X: np.ndarray, labels: np.ndarray, weight: np.ndarray, index: np.ndarray) -> TrainingRows:
        """Rows of X by their numbers (n,), with their labels and weights (n,)."""
        import torch

        from .training.memmap import RowsOnDisk, on_disk
        from .training.trainer import TrainingRows

        lift = self._model().lift
        rows: torch.Tensor | RowsOnDisk
        if on_disk(X):
            rows = RowsOnDisk(X, self.scaler_, index, lift)
        else:
            rows = torch.as_tensor(self.scaler_.transform(X, index)).to(lift)
        return TrainingRows(
            rows,
            torch.as_tensor(labels).to(lift.device),
            torch.as_tensor(weight / weight.mean()).to(lift),
            self._codes(),
        )

    # -------------------------------------------------------------- predict

    def predict(self, X: ArrayLike) -> np.ndarray:
        """
        The most probable class of each row, as labelled in `fit`.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n,)
        """
        return self._fitted().classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """
        Class probabilities: the ends of the members' transports, each projected onto the codes and the simplex.

        Each member's probabilities get the calibration of `fit`; the result is their mean.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Columns in the order of `classes_`. Rows of NaN only get the shares of the classes in training, with a warning.
            A row's probabilities do not depend on the rows that come with it, but for float32's rounding, of some 1e-6,
            between calls of up to 32 rows and of more.
        """
        from .folding import MANY_ROWS, applies, folded
        from .inference import in_blocks
        from .transport.readout import project_on_codes, project_on_simplex, temper

        model = self._fitted()._model()
        calibration = self.calibration_

        def probabilities(projected: torch.Tensor) -> torch.Tensor:
            # In double precision, so that rows sum to 1 to the last digits.
            on_simplex = project_on_simplex(projected.double())
            return temper(on_simplex, calibration.temperature, calibration.smoothing).mean(0)

        if applies(model, len(self.scaler_.center), self.solver, self.n_steps):
            rows, missing = checked_features(self, X, self.scaler_.center.shape)
            project = folded(model, self._code_kind, self.code_index_.tolist())
            found = in_blocks(
                model,
                rows,
                lambda block: probabilities(project(block)),
                scale=self.scaler_.transform,
                block=MANY_ROWS,
                fill=False,
            )
        else:
            codes = self._codes().double()
            found, missing = self._of_members(
                X, self.n_steps, lambda states: probabilities(project_on_codes(states[-1].double(), codes))
            )
        found[missing] = self.class_prior_
        return found

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """The logarithm of `predict_proba`."""
        return np.log(self.predict_proba(X))

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """
        Cosines of the codes with the estimate that the probabilities stand for, `Σ_c p_c x0(c)` (Eq. 12).

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n, n_classes), or (n,) for two classes
            In [0, 1]; a row's largest is that of its predicted class. For two classes the second less the first, in [-1, 1].
        """
        probabilities = self.predict_proba(X)
        cosines = probabilities / np.linalg.norm(probabilities, axis=1, keepdims=True)
        return cosines[:, 1] - cosines[:, 0] if cosines.shape[1] == 2 else cosines

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """
        How much rows are like those of training: the lower, the likelier a class that was not among them.

        An estimate of a row of a known class is a mixture of the codes; the score is minus the length of its part outside
        their span, in units of a code's length.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n,), float32
            At most 0; NaN for rows of NaN.

        Notes
        -----
        A hint, not a test: over the tables measured it tells no more, beyond chance, than the top probability, nor than the
        distance to the nearest training rows. The page on uncertainty of the documentation has figures.
        """
        from .transport.readout import outside_span

        codes = self._fitted()._codes()
        found, missing = self._of_members(
            X, self.n_steps, lambda states: outside_span(states[-1].mean(0), codes)[:, None]
        )
        found[missing] = np.nan
        return -found[:, 0]

    def transport(self, X: ArrayLike, n_steps: int | None = None, return_path: bool = False) -> np.ndarray:
        """
        Carry rows to the code space.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
        n_steps : int >= 1, optional
            Steps; the parameter's value by default.
        return_path : bool
            Whether to return every state on the way.

        Returns
        -------
        ndarray of shape (n, width), or (n_steps + 1, n, width) with `return_path`
            The members' mean estimate of each row's code; or all states, the lifted features first and the estimate last.
        """
        n_steps = self.n_steps if n_steps is None else n_steps
        found, missing = self._of_members(X, n_steps, lambda states: (states if return_path else states[-1]).mean(-3))
        found[..., missing, :] = np.nan
        return found

    def _of_members(
        self, X: ArrayLike, n_steps: int, read: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        What `read` makes of all states (n_steps + 1, M, B, L) of the members' transports of blocks of rows.

        And which rows are of NaN only, (n,), whose result means nothing.
        """
        from .inference import in_blocks
        from .transport.solvers import SOLVERS, step_noise

        model = self._fitted()._model()
        check_integer("n_steps", n_steps, 1)
        check_choice("solver", self.solver, SOLVERS)
        rows, missing = checked_features(self, X, self.scaler_.center.shape)
        noise = step_noise(n_steps, model.lift.shape[1]).to(model.lift)

        def compute(block: torch.Tensor) -> torch.Tensor:
            return read(model.transport(block, solver=self.solver, n_steps=n_steps, noise=noise))

        return in_blocks(model, rows, compute, scale=self.scaler_.transform), missing

    def _codes(self) -> torch.Tensor:
        """The codes of `classes_`, (K, L), where the model is."""
        return self.model_.codes(self._code_kind, int(self.code_index_.max()) + 1)[self.code_index_.tolist()]

    def _model(self) -> TransportModel:
        """The model, brought back to the device after unpickling."""
        device = resolve_device(self.device)
        if self.model_.lift.device.type != device.type:
            self.model_.to(device)
        return self.model_

    def _fitted(self) -> GenerativeTransportClassifier:
        check_is_fitted(self, "model_")
        return self

    # ---------------------------------------------------------- persistence

    def save(self, path: str | PathLike) -> None:
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
            If labels are neither numbers, booleans nor strings.
        """
        from .persistence import save_classifier

        save_classifier(self._fitted(), path)

    @classmethod
    def load(cls, path: str | PathLike) -> GenerativeTransportClassifier:
        """
        Read a classifier written by `save`.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        ValueError
            If the file is damaged, of another kind, or of another version of the format.
        """
        from .persistence import load_classifier

        return load_classifier(cls(), path)

    def __getstate__(self) -> dict[str, Any]:
        """Fitted tensors go to the CPU: a pickle from a GPU loads anywhere."""
        state = super().__getstate__()
        if "model_" in state:
            state = {**state, "model_": copy.deepcopy(state["model_"]).cpu()}
        return state
