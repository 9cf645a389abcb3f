"""The classifier: its parameters, and `fit` as a few lines over the modules below."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state

from . import parameters as _parameters
from .device import exact_dtype, resolve_device
from .export.mixin import ExportMixin
from .incremental import IncrementalMixin
from .prediction import PredictionMixin
from .preprocessing import FeatureScaler, lift_matrix
from .saving import SavingMixin
from .validation import all_or_nothing, check_choice, check_flag, checked_rows, class_factors, shown
from .votes import VotesMixin

if TYPE_CHECKING:
    from typing import Self

    import torch
    from numpy.typing import ArrayLike
    from sklearn.utils import Tags

    from .estimators.training_rows import TrainingRows
    from .predictor import Predictor


@dataclass(eq=False, repr=False)
class GenerativeTransportClassifier(
    IncrementalMixin, VotesMixin, PredictionMixin, SavingMixin, ExportMixin, ClassifierMixin, BaseEstimator
):
    """
    Classify by generative transport of feature vectors to the codes of their classes.

    A standardised row x1 is the end at t = 1 of a noisy path whose other end, at t = 0, is the code of the row's class. What is
    estimated is the code, given the row (Gen-SER, Wang et al., arXiv 2601.20573, Eq. 8): in closed form, by kernel ridge
    regression, and by a transformer. The estimate gives the class probabilities, and these determine the path to the code.

    Parameters
    ----------
    path : "exact", ExactPath or LearnedPath, default="exact"
        Path from features to code. On the exact path the class probabilities at t = 1 give the state at every other time by
        Bayes' rule; "exact" is an `ExactPath` with the paper's schedules. On a `LearnedPath`, the paper's method, a network with
        time learns every step.
    estimator : {"both", "network", "kernel"}, default="both"
        What estimates the code: a kernel regression, which is best where classes differ smoothly in many features, as in
        embeddings; a network, which is best where a few features decide; or both, weighted on held-out rows. The probabilities of
        a logistic regression, and where they help of normal distributions of the classes and of gradient-boosted trees (from 500
        rows, with up to 200 features), are multiplied in, with exponents fitted on the same rows.
    codes : {"sinusoidal", "paired", "one_hot", "random"}, default="sinusoidal"
        Codes of the classes (Eq. 2): one sine each (the paper's); sines and cosines; unit vectors; random orthogonal vectors.
    scaling : {"mixed", "quantile", "robust", "standard", "none"}, default="mixed"
        Standardisation of features: "quantile", by ranks to a normal distribution; "robust", by median and quartiles with a
        smooth clip at ±3; "standard", by mean and standard deviation; "none". "mixed" scales features in two ways, by ranks and
        by mean and standard deviation (smoothly clipped at ±6): network members alternate between them, and the kernel uses
        the better one.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        Columns of a DataFrame that are categories: those of strings and categories, and also columns of numbers if they are
        listed, by name, by number (from 0) or by a boolean for each column. Booleans remain one column of 0 and 1.
    kernel : {"auto", "gaussian", "cosine", "laplacian"}, default="auto"
        Kernel of the closed form; "cosine" is the Gaussian of rows divided by their lengths. "auto" chooses by the error on
        held-out rows, as for the bandwidth, the penalty and, in layered input, the weights of layers; it tries "cosine" from 100
        features on, and "laplacian", which is slower, up to 1,000.
    n_centers : int >= 1 or "auto", default="auto"
        Number m of training rows that the kernel keeps. "auto" keeps all of up to 8,000 rows, 2,000 of more, and 4,000 of up to
        20,000 rows where 2,000 have much less error than 1,000. This bounds its memory: about 4·m·d + 8·m·n_classes bytes, and
        during `fit` about 20·m² bytes with all rows, 60·m² with fewer.
    width : int or "auto", default="auto"
        Width L of the code space and of the network. "auto" leaves room for 16 more classes (of fewer than 16, for as
        many again), rounded up to a multiple of 64; without a learned path the network is no wider than 512, with a linear map
        into a wider code space. Attention has a head for each 16 of it, up to 16 heads.
    depth : int >= 1, default=2
        Transformer layers.
    mlp_ratio : float > 0, default=1.0
        Hidden width of the feed-forward layers, as a multiple of `width`.
    n_frequencies : int >= 0 or "auto", default="auto"
        Number of learnt frequencies whose sines and cosines of each feature are appended to the network's input; 0 for none.
        "auto" is 80 divided by the number of features, from 4 to 16, and 0 for more than 40 features.
    tokenizer : {"single", "layers", "chunks"}, default="single"
        Tokens of the transformer: one (the paper's), one more per conditioning layer, one more per 16 values.
    dropout : float in [0, 1), default=0.1
        Dropout rate of the feed-forward states.
    n_members : int >= 1, default=4
        Networks trained at once, whose estimates are averaged. Each of several leaves out its own fold of the rows, which
        validates it; a single one leaves out a tenth of them.
    max_steps : int >= 1, default=10_000
        Largest number of updates of the network.
    batch_size : int >= 1 or "auto", default="auto"
        Rows per update of each member. "auto" is an eighth of the rows, but at least 16 and at most 256.
    learning_rate : float > 0 or "auto", default="auto"
        Learning rate of Adam. "auto" is 0.01 for up to 256 rows per member and 0.005 for more, but at most 1.28 divided by
        the width, which many classes increase.
    ema_decay : float in [0, 1), default=0.99
        Decay per update of the moving average of the weights that prediction uses; 0 for the last weights.
    patience : int >= 1, "auto" or None, default="auto"
        Updates without a validation score that is half a percent better, after which training stops: "auto" is an eighth of
        the rows, from 10 to 80, and a twentieth of more than 1,600 rows, up to 1,000, or less for networks wider than 128.
        None makes all `max_steps`, and a single network without a kernel then learns from all rows.
    time_limit : float > 0 or None, default=None
        Seconds for `fit`. The kernel is fitted first, with as many centres, at least 250, as leave time for the network; its
        best weights so far are kept. Where no time remains, the kernel is used alone. Scaling is not interrupted.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; "balanced" gives the rows of all classes one sum. See `partial_fit` for later rows.
    distributed : bool, default=False
        Whether the processes of torch's default process group fit one model together; all of them must then call `fit`, with
        the same arguments.
    device : str, default="auto"
        Where to compute: "auto" is the first available of cuda, mps and cpu.
    precision : {"auto", "float32", "bfloat16", "float64"}, default="auto"
        Precision of the network's matrix products in training: "auto" is bfloat16 where the device supports it natively, but on
        processors only if `batch_size` times `width` exceeds 4,096, else float32. So the same seed may give different models on
        different machines. Prediction uses float32, and float64 for up to 32 rows.
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
        Index of the code of each class; new classes get the next free one.
    codes_ : ndarray of shape (n_classes, width)
        Code of each class, where transport ends.
    n_features_in_ : int
        Features; for layered input the number of layers.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names, where `X` had them.
    path_ : ExactPath or LearnedPath
        The path of the fit.
    kernel_ : KernelEstimator or None
        The closed form, with the rows that it keeps.
    network_ : TransportNetwork or None
        The trained network.
    logistic_ : LogisticEstimator or None
        The logistic regression that joins both, with `estimator="both"`.
    gaussian_ : GaussianEstimator or None
        Normal distributions of the classes, with `estimator="both"`, where they help.
    trees_ : TreesEstimator or None
        The gradient-boosted trees that join them, with `estimator="both"` and enough rows.
    combination_ : Combination
        `weights` of kernel and network, and `exponents` of their mixture and of the other estimators that there are, in order.
    held_out_index_ : ndarray of shape (r,)
        Rows of `fit` that were held out: all, or every k-th of more than 20,000; only a tenth of these with `n_members=1`,
        unless `estimator="kernel"`. None for very few rows, or with a single network alone and `patience=None`.
    held_out_proba_ : ndarray of shape (r, n_classes)
        Out-of-fold and leave-one-out probabilities of these rows, 0 for classes that `partial_fit` added. Neither attribute is
        kept in files and pickles.
    layer_weights_ : ndarray of shape (n_layers,)
        For layered input and with a kernel: weight of each layer, summing to 1. Those of the network's weighted sum of the
        conditioning layers (section 2.5), of any sign and sum, are in `network_.layer_weights`.
    feature_relevance_ : ndarray of shape (n_features_out,)
        With a kernel: share of each scaled feature in its squared distances, summing to 1. All are equal for layered input, and
        unless held-out folds show that some matter more. Columns that encode a DataFrame or gaps count as features.
    table_encoder_ : TableEncoder or None
        How columns of a DataFrame became numbers; None for numbers only. It has `get_feature_names_out`.
    scaler_ : FeatureScaler
        The standardisation.
    n_iter_, best_iter_ : int
        Updates made, and the update whose averaged weights are kept; 0 without a network.
    history_ : dict
        Lists of `"step"`, `"loss"`, `"validation_brier"` and `"seconds"` at each validation; `"stopped_by"`, what ended
        training: "max_steps", "patience", "time_limit", "interrupt" or, without a network, None; and `"kernel_bytes"`, the
        memory of the kernel's rows and coefficients.

    See Also
    --------
    sklearn.kernel_ridge.KernelRidge : The closed form alone, without a choice of its hyperparameters.
    sklearn.neural_network.MLPClassifier : A plain network with a softmax.

    Notes
    -----
    With a kernel a fitted model keeps training rows, in `kernel_.centers`, and so do its file and pickle.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from gendiffclf import GenerativeTransportClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> classifier = GenerativeTransportClassifier(random_state=0).fit(X, y)
    >>> classifier.predict(X[:3])
    array([0, 0, 0])
    >>> classifier.predict_proba(X[:3]).shape
    (3, 3)
    """

    _: KW_ONLY
    path: Any = "exact"
    estimator: str = "both"
    codes: str = "sinusoidal"
    scaling: str = "mixed"
    categorical_features: Any = "from_dtype"
    kernel: str = "auto"
    n_centers: int | str = "auto"
    width: int | str = "auto"
    depth: int = 2
    mlp_ratio: float = 1.0
    n_frequencies: int | str = "auto"
    tokenizer: str = "single"
    dropout: float = 0.1
    n_members: int = 4
    max_steps: int = 10_000
    batch_size: int | str = "auto"
    learning_rate: float | str = "auto"
    ema_decay: float = 0.99
    patience: int | str | None = "auto"
    time_limit: float | None = None
    class_weight: dict[Any, Any] | str | None = None
    distributed: bool = False
    device: str = "auto"
    precision: str = "auto"
    random_state: Any = None
    verbose: int = 0

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> GenerativeTransportClassifier:
        """
        Create a classifier with a named set of parameters.

        Parameters
        ----------
        name : {"default", "gen-ser"}
            `"gen-ser"` is the paper's network on its learned path: 62,962,712 parameters for 24 conditioning layers of width
            1024, which are 71,359,512 with the queries and keys that one token makes useless.
        **changes
            Parameters to set otherwise.

        Returns
        -------
        GenerativeTransportClassifier
            Unfitted.

        Raises
        ------
        ValueError
            If there is no such set or parameter.

        Examples
        --------
        >>> GenerativeTransportClassifier.from_preset("gen-ser", max_steps=1000).depth
        4
        """
        named = _parameters.presets()
        check_choice("name", name, named)
        return cls(**named[name]).set_params(**changes)

    def set_params(self, **params: Any) -> Self:
        """As for all estimators of scikit-learn; those of a path, such as `path__n_steps`, need a path that is an object."""
        nested = [name for name in params if name.startswith("path__")]
        if nested and isinstance(path := params.get("path", self.path), str):
            raise ValueError(
                f"Got {', '.join(nested)} with path={path!r}, expected an object with parameters; pass path=LearnedPath() or "
                "path=ExactPath()."
            )
        return super().set_params(**params)

    def __sklearn_tags__(self) -> Tags:
        """Missing values are let through."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    # ------------------------------------------------------------------- fit

    @all_or_nothing
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> GenerativeTransportClassifier:
        """
        Learn from rows.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d), or DataFrame
            Features, NaN where a value is missing. Of layers, the last is where transport starts, the others are the condition.
            Rows of NaN only, as featurisers leave for broken clips, are left out with a warning. Rows of a `numpy.memmap` stay on
            disk. Columns of a DataFrame may be of numbers, booleans, strings or categories.
        y : array-like of shape (n,)
            Labels of any sortable type, at least two different ones.
        sample_weight : array-like of shape (n,), optional
            Non-negative weights. A row of weight 2 is the same as that row twice, if the least weight of its class is 1.
        groups : array-like of shape (n,), optional
            Rows of one group (a speaker, say) are held out together, so that all choices and the calibration hold for groups
            not seen in training.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or X or y are not as above, or there are more classes than the code space holds;
            and if processes that fit together were given different arguments.
        RuntimeError
            If another process found its arguments wrong.
        """
        from .fitting import fit_estimators
        from .training.budget import Budget
        from .training.copies import distinct_rows, training_rows
        from .training.distributed import Processes

        check_flag("distributed", self.distributed)
        budget = Budget(self.time_limit)
        processes = Processes.launched(self.distributed)
        seed = processes.first(int(check_random_state(self.random_state).randint(2**31)))
        with processes.agreement(self) as arguments:
            params = self._checked_parameters()
            rows, y, weight, group_of = checked_rows(self, X, y, sample_weight, None, groups, self.categorical_features)
            classes, labels = np.unique(y, return_inverse=True)
            arguments.update(X=rows, y=[classes.tolist(), labels], sample_weight=weight, groups=group_of)
            if len(classes) < 2:
                raise ValueError(
                    f"Got 1 class in y ({shown(classes[0])}), expected at least 2 classes; add rows of another class."
                )
            counts = np.bincount(labels, weight)
            weight = weight * class_factors(self.class_weight, classes, counts, labels, weight)
            kinds = np.stack([labels, group_of], axis=1)
            if groups is None:
                kept, weight, kind, observed = training_rows(rows, kinds, weight)
            else:  # Rows of a group are held out together, so that copies in it may be one.
                kept, weight, kind = distinct_rows(rows, kinds, weight)
                observed = None
            labels, group = labels[kept], None if groups is None else group_of[kept]
            width = _parameters.code_width(params, len(classes))
            self._code_kind, self._code_width = self.codes, width
            self.classes_, self.code_index_ = classes, np.arange(len(classes))
            self._codes()  # raises where the space is too small
        self._class_counts = counts
        self._class_size = float(weight.sum() / len(classes))
        self.path_ = _parameters.checked_path(self.path)
        indicators = None if self.table_encoder_ is None else self.table_encoder_.indicators
        self.scaler_ = FeatureScaler.fit(rows, weight, self.scaling, kept, indicators, labels)
        self.lift_ = lift_matrix(self.scaler_.n_features_out, width, seed)
        codes = self._codes().to(resolve_device(self.device), self._dtype)
        data = self._training_rows(rows, labels, weight / weight.mean(), observed, group, kept, codes)
        fitted = fit_estimators(
            params, data, codes, (rows.shape[1], len(self.lift_)), self.path_, seed, processes, budget
        )
        self.kernel_, self.network_ = fitted.kernel, fitted.network
        self.logistic_, self.gaussian_, self.trees_ = fitted.logistic, fitted.gaussian, fitted.trees
        self.combination_ = fitted.combination
        self._novelty = fitted.novelty
        self.held_out_index_, self.held_out_proba_ = fitted.held_out_rows(kind)
        training = fitted.training
        self.n_iter_, self.best_iter_, self.history_ = training.n_steps, training.best_step, fitted.history
        self._predictors: dict[Any, Predictor] = {}
        return self

    def _checked_parameters(self) -> dict[str, Any]:
        """Return the parameters, or raise a ValueError that names the first one out of its range."""
        # By name, since the `__init__` of a subclass may have other parameters.
        params = {name: getattr(self, name) for name in GenerativeTransportClassifier._get_param_names()}
        _parameters.check_parameters(params)
        return params

    def _training_rows(
        self,
        X: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        observed: np.ndarray | None,
        groups: np.ndarray | None,
        index: np.ndarray,
        like: torch.Tensor,
    ) -> TrainingRows:
        """Rows of X by their numbers (n,), scaled now or, on disk, when they are asked for."""
        import torch

        from .estimators.training_rows import TrainingRows
        from .training.memmap import RowsOnDisk, on_disk

        rows: Any = RowsOnDisk(X, self.scaler_, index, like) if on_disk(X) else None
        if rows is None:
            rows = torch.as_tensor(self.scaler_.transform(X, index)).to(like)
        exact = exact_dtype(like.device)
        y = torch.as_tensor(labels, device=like.device)
        targets = torch.nn.functional.one_hot(y, len(self.classes_)).to(exact)
        weight = torch.as_tensor(weights, dtype=exact, device=like.device)
        return TrainingRows(rows, targets, weight, groups, observed)
