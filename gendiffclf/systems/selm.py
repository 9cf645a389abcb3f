"""SELM (arXiv 2407.15300) as a scikit-learn classifier: a language model that answers with the text of a label."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ..featurizers import FeatureCache
from ..featurizers.inputs import as_items
from ..validation import all_or_nothing
from .estimator import ClipEstimator
from .selm_fitting import (
    AUTO_EPOCHS,
    EXCLUDED,
    WARMUP_SHARE,
    check_parameters,
    checked_labels,
    initial_language_model,
    new_model,
    training_examples,
)
from .selm_language import language_description, language_from_description
from .selm_model import SelmModel
from .selm_prediction import SelmPrediction
from .selm_texts import (
    PROMPT,
    View,
    checked_views,
    plain_texts,
    plain_views,
    sorted_labels,
    texts_from_plain,
    views_from_plain,
)
from .steps import checkpoint_folder, encode, training_arguments, training_seed
from .training import train_module


@dataclass(eq=False, repr=False)
class SelmClassifier(SelmPrediction, ClassifierMixin, ClipEstimator):
    """
    Classifies clips of speech by the probability of each label's text under a language model conditioned on the clip.

    Parameters
    ----------
    encoder : "fbank", str, Path, Module, SpeechFeaturizer or None, default="facebook/wav2vec2-base"
        Source of the frames: log-mel energies, which need no weights; a hub name, folder or loaded model of transformers; or
        a featuriser. It is frozen, and each clip is encoded once. With None, `X` holds frames instead of clips, arrays of
        shape (n_frames, d), as in a pipeline after a featuriser with `pooling="none"`.
    layer : int, default=4
        Hidden state used as frames, as in the paper; ignored for log-mel energies.
    language_model : str or Path, default="gpt2"
        A hub name, or a folder with a causal language model and its tokenizer. "bytes" is a small GPT-2 over bytes with
        random initial weights, which needs no download.
    tune_language_model : bool or "auto", default="auto"
        Whether `fit` also trains the language model, not only the mappers; "auto" does so for "bytes" only.
    label_texts : mapping of label to str or list of str, optional
        Texts of each label. Its labels are the classes; with None the classes are the training labels, and each is its own
        text. Can be changed after `fit` by `set_params(label_texts=...)`, also to labels without training clips.
    prompt : str, default="this person is feeling"
        Prompt that the texts of the labels complete.
    views : sequence of str, or mapping of str to View, default=()
        Additional prompts to train on: "sentiment", "vad" (words for valence, arousal and dominance), or a mapping of names to
        custom ones, `gendiffclf.systems.selm_texts.View(prompt, texts)`, with the text of each label.
    n_prefix : int >= 1, default=40
        Number of tokens of the audio prefix, and of the prompt prefix.
    n_mapper_layers : int >= 1, default=4
        Layers of each mapper's transformer.
    n_heads : int >= 1, default=8
        Attention heads of each layer.
    dropout : float in [0, 1), default=0.1
        Dropout in the mappers.
    length_normalize : bool, default=False
        Divide the log-probability of a text by its number of tokens, so that long texts can compete with short ones.
    n_epochs : int >= 1 or "auto", default="auto"
        Passes over the training examples in `fit`: "auto" is 30, or as many as make 500 updates if these are more.
    few_shot_epochs : int >= 1, default=10
        Passes over the training examples in `partial_fit`.
    batch_size : int >= 1, default=32
        Examples per step.
    accumulation_steps : int >= 1, default=1
        Steps per update.
    learning_rate : float > 0, default=1e-4
        Peak learning rate of AdamW. For "bytes", 1e-3 is a better first choice.
    weight_decay : float >= 0, default=0.01
        Weight decay of AdamW.
    sampling_rate : float or None, default=None
        Sampling rate of bare arrays, in Hz.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where frames are cached, as in `HubertFeaturizer`.
    checkpoints : str, Path or None, default=None
        Folder for a checkpoint after each epoch. An interrupted `fit` called again with the same clips, labels,
        parameters and number of processes resumes from the last one and ends with the same weights.
    distributed : bool, default=False
        Whether the processes of a launched group (`torchrun`) train one model, with `batch_size` examples per step each.
    device : str, default="auto"
        Device to compute on: "auto" takes the first available of cuda, mps and cpu.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; "auto" is bfloat16 on devices with hardware support. Prediction uses
        float32.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, order and dropout. With `checkpoints` or `distributed`, None means 0.
    verbose : int, default=0
        If nonzero, show a progress bar with the time left.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        Sorted labels that are predicted: those of `label_texts`, or the training labels.
    trained_labels_ : list
        Sorted labels that had clips in `fit` or `partial_fit`.
    views_ : dict of str to View
        Views used in training.
    network_ : SelmModel
        Mappers and language model.
    tokenizer_ : PreTrainedTokenizer
    encoder_identity_ : dict
        Identifies the weights and settings of the encoder.
    loss_curve_ : list of float
        Training loss of each epoch of `fit`.

    See Also
    --------
    GenerativeTransportClassifier : Classes by generative transport.
    EmoSphereRegressor : Arousal, valence and dominance.

    Notes
    -----
    The predicted label is arg max P(text | audio). The score of a text is the sum of its tokens' log-probabilities, including
    the end-of-text token; the probabilities of several texts of a label are added. The audio prefix passes through the
    language model once for all texts. SELM's code is not public: the sizes of the mappers follow Pengi (arXiv 2305.11834);
    the page "SELM" lists what is from the paper and what is our choice. All frames are held in memory.

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

    encoder: Any = "facebook/wav2vec2-base"
    _: KW_ONLY
    layer: int = 4
    language_model: str | os.PathLike[str] = "gpt2"
    tune_language_model: bool | str = "auto"
    label_texts: Mapping[Any, str | Sequence[str]] | None = None
    prompt: str = PROMPT
    views: Sequence[str] | Mapping[str, View] = ()
    n_prefix: int = 40
    n_mapper_layers: int = 4
    n_heads: int = 8
    dropout: float = 0.1
    length_normalize: bool = False
    n_epochs: int | str = "auto"
    few_shot_epochs: int = 10
    batch_size: int = 32
    accumulation_steps: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    sampling_rate: float | None = None
    cache: bool | str | os.PathLike[str] | FeatureCache | None = True
    checkpoints: str | os.PathLike[str] | None = None
    distributed: bool = False
    device: str = "auto"
    precision: str = "auto"
    random_state: Any = None
    verbose: int = 0

    _check_parameters = staticmethod(check_parameters)

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> SelmClassifier:
        """
        Train on labelled clips.

        Parameters
        ----------
        X : list of n clips
            In the forms listed at `HubertFeaturizer`.
        y : array-like of shape (n,)
            Labels; all of them must be in `label_texts`, unless that is None.

        Returns
        -------
        self : object
            The classifier.

        Raises
        ------
        AudioError
            If a clip cannot be read.
        ValueError
            If a parameter is out of range, or a label has no text.
        ImportError
            If the extra `finetune` is not installed.
        """
        params = self._checked_parameters()
        clips = as_items(X)
        labels = checked_labels(y, len(clips))
        trained = sorted_labels(labels)
        views = checked_views(self.views, trained)
        texts = self._texts(trained, needed=trained)
        seed = training_seed(params)
        language_model, tokenizer = initial_language_model(params, seed)  # may fail, so before clips are encoded
        frames, identity = encode(params, clips)
        network = new_model(params, language_model, frames, seed)
        examples = training_examples(network, tokenizer, frames, labels, texts, self.prompt, views)
        self.loss_curve_ = train_module(
            network,
            examples,
            seed=seed,
            folder=checkpoint_folder(params, identity, examples, seed, EXCLUDED),
            **training_arguments(
                params, len(examples), AUTO_EPOCHS, lr_scheduler_type="linear", warmup_steps=WARMUP_SHARE
            ),
        )
        self.network_, self.tokenizer_, self.encoder_identity_ = network.eval(), tokenizer, identity
        self.trained_labels_, self.views_, self.prompt_ = trained, views, self.prompt
        return self

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any) -> SelmClassifier:
        """
        Train the mappers further on a few clips, for example of another corpus.

        Parameters
        ----------
        X : list of n clips
        y : array-like of shape (n,)
            Labels; new ones are allowed.

        Returns
        -------
        self : object
            The classifier, after `few_shot_epochs` passes over these clips.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        AudioError, ValueError, ImportError
            As in `fit`.
        """
        check_is_fitted(self)
        params = self._checked_parameters()
        clips = as_items(X)
        labels = checked_labels(y, len(clips))
        trained = sorted_labels([*self.trained_labels_, *labels.tolist()])
        texts = self._texts(trained, needed=labels.tolist())
        frames, _ = encode(params, clips, self.encoder_identity_)
        network = copy.deepcopy(self.network_)
        tuned = network.tunes_language_model
        network.tune(language_model=False)
        examples = training_examples(network, self.tokenizer_, frames, labels, texts, self.prompt_, self.views_)
        few_shot = {**params, "n_epochs": self.few_shot_epochs}
        arguments = training_arguments(few_shot, len(examples), AUTO_EPOCHS, lr_scheduler_type="linear")
        train_module(network, examples, seed=training_seed(params), **arguments)
        network.tune(language_model=tuned)
        self.network_, self.trained_labels_ = network.eval(), trained
        return self

    def _description(self) -> tuple[dict[str, Any], dict[str, Any]]:
        parameters, fitted = super()._description()
        parameters |= {"label_texts": plain_texts(self.label_texts), "views": plain_views(self.views)}
        language = language_description(self.network_.language_model, self.tokenizer_)
        return parameters, {**fitted, "views_": plain_views(self.views_), "language": language}

    @classmethod
    def _parameters(cls, stored: dict[str, Any]) -> dict[str, Any]:
        plain = {"label_texts": texts_from_plain(stored["label_texts"]), "views": views_from_plain(stored["views"])}
        return {**stored, **plain}

    def _restore(self, fitted: dict[str, Any]) -> None:
        language_model, self.tokenizer_ = language_from_description(fitted.pop("language"))
        self.network_ = SelmModel(language_model, **fitted.pop("network"))
        self.views_ = views_from_plain(fitted.pop("views_"))
