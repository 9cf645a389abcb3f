"""SELM (arXiv 2407.15300) as a scikit-learn classifier: a language model that answers with the text of a label."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from ..device import resolve_device
from ..featurizers.inputs import as_items
from ..validation import all_or_nothing
from .collation import collate
from .emosphere_fitting import training_seed
from .frames import clip_frames
from .model_folder import load_system, save_system
from .selm_fitting import (
    checked_labels,
    checked_parameters,
    checkpoint_folder,
    model_of,
    new_model,
    open_encoder,
    training_examples,
    training_plan,
)
from .selm_folder import (
    language_description,
    language_from_description,
    plain_texts,
    plain_views,
    texts_from_plain,
    views_from_plain,
)
from .selm_prediction import SelmPrediction
from .selm_texts import PROMPT, View, checked_views, sorted_labels
from .training import train_module

if TYPE_CHECKING:
    from ..featurizers import FeatureCache


class SelmClassifier(SelmPrediction, ClassifierMixin, BaseEstimator):
    """
    Labels of clips of speech by the probability of their texts under a language model that has heard the clip.

    Parameters
    ----------
    encoder : "fbank", str, Path, Module or SpeechFeaturizer, default="facebook/wav2vec2-base"
        Where frames come from: log-mel energies, which need no weights; a hub name, folder or loaded model of transformers; or
        a featuriser with settings of your own. It is frozen: each clip is encoded once.
    layer : int, default=4
        Hidden state that frames are taken from, as the paper does; log-mel energies have none.
    language_model : str or Path, default="gpt2"
        A hub name, or a folder with a causal language model and its tokenizer. "bytes" is a small GPT-2 over bytes that starts
        from random weights and needs no download.
    tune_language_model : bool or "auto", default="auto"
        Whether `fit` trains the language model besides the mappers; "auto" does so for "bytes" only.
    label_texts : mapping of label to str or list of str, optional
        The texts that stand for each label. Its labels are the classes; None takes the labels of training, each as its own
        text. It may be changed after `fit`, also to labels without training clips, by `set_params(label_texts=...)`.
    prompt : str, default="this person is feeling"
        What the texts of labels answer.
    views : sequence of str, or mapping of str to View, default=()
        Further questions to train on: "sentiment", "vad" (words for valence, arousal and dominance), or your own.
    n_prefix : int >= 1, default=40
        Tokens of the audio prefix, and of the prompt prefix.
    n_mapper_layers, n_heads : int >= 1, default=4 and 8
        Of the transformer of each mapper.
    dropout : float in [0, 1), default=0.1
        Of the mappers.
    length_normalize : bool, default=False
        Divide a text's log-probability by its number of tokens, so that long texts compete with short ones.
    n_epochs, few_shot_epochs : int >= 1, default=20 and 10
        Passes over the training examples in `fit`, and in `partial_fit`.
    batch_size, accumulation_steps : int >= 1, default=32 and 1
        Examples of a step, and steps of an update.
    learning_rate : float > 0, default=1e-4
        Of AdamW, at its peak. With "bytes" 1e-3 is a better start.
    weight_decay : float >= 0, default=0.01
        Of AdamW.
    sampling_rate : float or None, default=None
        Rate of bare arrays, in Hz.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where frames are kept, see `HubertFeaturizer`.
    checkpoints : str, Path or None, default=None
        Folder for a checkpoint after each epoch. A killed `fit` goes on from the last one when it is called again with the same
        clips, labels and parameters, to the same weights.
    distributed : bool, default=False
        Whether the processes of a launched group (`torchrun`) train one model; each then gets `batch_size` examples a step.
    device : str, default="auto"
        Where to compute: "auto" is the first there is of cuda, mps and cpu.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of matrix products in training; "auto" is bfloat16 where the device has units for it. Prediction is in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, order and dropout. None draws one, but is 0 with `checkpoints` or `distributed`.
    verbose : int, default=0
        Whether to show progress, with the time left.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        Labels that are predicted, sorted: those of `label_texts`, or those of training.
    trained_labels_ : list
        Labels that had clips in `fit` or `partial_fit`, sorted.
    views_ : dict of str to View
        Views of training.
    model_ : SelmModel
        Mappers and language model.
    tokenizer_ : PreTrainedTokenizer
    encoder_identity_ : dict
        What identifies the encoder.
    loss_curve_ : list of float
        Training loss of each epoch of `fit`.

    See Also
    --------
    GenerativeTransportClassifier : Classes by generative transport.
    EmoSphereRegressor : Arousal, valence and dominance.

    Notes
    -----
    The label is arg max P(text | audio). A text's score is the sum of its tokens' log-probabilities, the end of the text
    included; a label with several texts has the sum of their probabilities. The audio passes through the language model once,
    and each text costs its own tokens. SELM's code is not public: sizes of the mappers follow Pengi (arXiv 2305.11834); the
    page "SELM" lists what is the paper's and what is ours. All frames are held in memory.

    References
    ----------
    "SELM: Enhancing Speech Emotion Recognition for Out-of-Domain Scenarios", 2024, arXiv 2407.15300.

    Examples
    --------
    >>> import numpy as np
    >>> from gendiffclf import SelmClassifier
    >>> clips = [(np.sin(np.arange(4000) * (0.05 + 0.1 * (i % 2))), 16000) for i in range(6)]
    >>> classifier = SelmClassifier(
    ...     "fbank", language_model="bytes", n_prefix=2, n_mapper_layers=1, n_epochs=1, cache=None, random_state=0
    ... )
    >>> classifier.fit(clips, ["low", "high"] * 3).predict_proba(clips).shape
    (6, 2)
    >>> classifier.set_params(label_texts={"low": "deep", "mid": "medium", "high": "shrill"}).classes_.tolist()
    ['high', 'low', 'mid']
    """

    loss_curve_: list[float]

    def __init__(
        self,
        encoder: Any = "facebook/wav2vec2-base",
        *,
        layer: int = 4,
        language_model: str | os.PathLike[str] = "gpt2",
        tune_language_model: bool | str = "auto",
        label_texts: Mapping[Any, str | Sequence[str]] | None = None,
        prompt: str = PROMPT,
        views: Sequence[str] | Mapping[str, View] = (),
        n_prefix: int = 40,
        n_mapper_layers: int = 4,
        n_heads: int = 8,
        dropout: float = 0.1,
        length_normalize: bool = False,
        n_epochs: int = 20,
        few_shot_epochs: int = 10,
        batch_size: int = 32,
        accumulation_steps: int = 1,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.01,
        sampling_rate: float | None = None,
        cache: bool | str | FeatureCache | None = True,
        checkpoints: str | os.PathLike[str] | None = None,
        distributed: bool = False,
        device: str = "auto",
        precision: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.encoder = encoder
        self.layer = layer
        self.language_model = language_model
        self.tune_language_model = tune_language_model
        self.label_texts = label_texts
        self.prompt = prompt
        self.views = views
        self.n_prefix = n_prefix
        self.n_mapper_layers = n_mapper_layers
        self.n_heads = n_heads
        self.dropout = dropout
        self.length_normalize = length_normalize
        self.n_epochs = n_epochs
        self.few_shot_epochs = few_shot_epochs
        self.batch_size = batch_size
        self.accumulation_steps = accumulation_steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.sampling_rate = sampling_rate
        self.cache = cache
        self.checkpoints = checkpoints
        self.distributed = distributed
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    # -------------------------------------------------------------- training

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> SelmClassifier:
        """
        Learn from labelled clips.

        Parameters
        ----------
        X : list of n clips
            See `HubertFeaturizer` for what a clip may be.
        y : array-like of shape (n,)
            Labels; each has a text where `label_texts` is given.

        Returns
        -------
        self : object
            The classifier.

        Raises
        ------
        AudioError
            If a clip cannot be read.
        ValueError
            If a parameter is out of its range, or a label has no text.
        ImportError
            Without the extra `finetune`.
        """
        params = checked_parameters(self)
        clips = as_items(X)
        labels = checked_labels(y, len(clips))
        trained = sorted_labels(labels)
        views = checked_views(self.views, trained)
        texts = self._texts(trained)
        encoder, identity = open_encoder(params)
        frames = clip_frames(encoder, clips)
        seed = training_seed(params)
        model, tokenizer = new_model(params, frames, seed)
        examples = training_examples(model, tokenizer, frames, labels, texts, self.prompt, views)
        device = resolve_device(self.device)
        folder = checkpoint_folder(params, identity, examples, seed)
        plan = training_plan(params, device, few_shot=False)
        self.loss_curve_ = train_module(
            model, examples, collate, plan, device=device, seed=seed, folder=folder, verbose=self.verbose
        )
        self.model_, self.tokenizer_, self.encoder_identity_ = model.eval(), tokenizer, identity
        self.trained_labels_, self.views_, self.prompt_ = trained, views, self.prompt
        return self

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any) -> SelmClassifier:
        """
        Learn from a few more clips, of another corpus for instance; the mappers alone change.

        Parameters
        ----------
        X : list of n clips
        y : array-like of shape (n,)
            Labels, new ones too.

        Returns
        -------
        self : object
            The classifier, trained for `few_shot_epochs` passes over these clips.

        Raises
        ------
        NotFittedError
            Before `fit`.
        AudioError, ValueError, ImportError
            As in `fit`.
        """
        check_is_fitted(self)
        params = checked_parameters(self)
        clips = as_items(X)
        labels = checked_labels(y, len(clips))
        trained = sorted_labels([*self.trained_labels_, *labels.tolist()])
        texts = self._texts(trained, needed=labels.tolist())
        frames = self._frames(clips)
        model = copy.deepcopy(self.model_)
        tuned = model.tunes_language_model
        model.tune(language_model=False)
        examples = training_examples(model, self.tokenizer_, frames, labels, texts, self.prompt_, self.views_)
        device = resolve_device(self.device)
        plan = training_plan(params, device, few_shot=True)
        train_module(model, examples, collate, plan, device=device, seed=training_seed(params), verbose=self.verbose)
        model.tune(language_model=tuned)
        self.model_, self.trained_labels_ = model.eval(), trained
        return self

    # ----------------------------------------------------------------- files

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """
        Write the fitted classifier, language model and tokenizer included, to a folder of safetensors and JSON.

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
        The encoder's weights are not in the folder; `load` finds them by name, and prediction checks that they are the same.
        Parameters of the run, such as `device`, `cache` and `checkpoints`, are not kept.
        """
        check_is_fitted(self)
        parameters = self.get_params(deep=False)
        parameters |= {"label_texts": plain_texts(self.label_texts), "views": plain_views(self.views)}
        fitted = {
            "trained_labels_": self.trained_labels_,
            "views_": plain_views(self.views_),
            "prompt_": self.prompt_,
            "encoder_identity_": self.encoder_identity_,
            "loss_curve_": self.loss_curve_,
            "language": language_description(self.model_.language_model, self.tokenizer_),
            "n_features": self.model_.audio_mapper.projection.first.in_features,
        }
        save_system(folder, type(self).__name__, parameters, fitted, self.model_.state_dict(), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], **changes: Any) -> SelmClassifier:
        """
        Read a folder that `save` wrote.

        Parameters
        ----------
        folder : path-like
        **changes
            Parameters to set, such as `device`, `cache`, or `encoder`, the place of the same weights on this machine.

        Returns
        -------
        classifier : SelmClassifier
            Ready to predict.

        Raises
        ------
        ValueError
            If the folder holds none, or one of a newer format.
        """
        parameters, fitted, weights = load_system(folder, cls.__name__)
        parameters["label_texts"] = texts_from_plain(parameters["label_texts"])
        parameters["views"] = views_from_plain(parameters["views"])
        classifier = cls(**{**parameters, **changes})
        language_model, classifier.tokenizer_ = language_from_description(fitted.pop("language"))
        model = model_of(parameters, language_model, fitted.pop("n_features"))
        if set(weights) != set(model.state_dict()):
            raise ValueError(
                f"Got folder={str(folder)!r} with weights of another model, expected those of its description."
            )
        model.load_state_dict(weights, strict=False)  # tied weights are there once
        classifier.model_ = model.eval()
        for name, value in fitted.items():
            setattr(classifier, name, views_from_plain(value) if name == "views_" else value)
        return classifier

    def __getstate__(self) -> dict[str, Any]:
        """Weights on the CPU, so that a pickle loads everywhere."""
        state = super().__getstate__()
        if "model_" in state:
            state = {**state, "model_": copy.deepcopy(state["model_"]).cpu()}
        return state

    def __sklearn_tags__(self) -> Tags:
        """Takes lists of paths or arrays and no table of numbers."""
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
