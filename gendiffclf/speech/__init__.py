"""Speech classification: reading and auditing corpora, evaluation by speaker, training, prediction and model folders."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adaptation import FewShot, few_shot
    from .auditing import audit
    from .comparison import Comparison, compare
    from .corpora import read_corpus
    from .evaluation import evaluate, evaluate_fitted
    from .findings import Audit, Finding
    from .layouts import LAYOUTS
    from .model_folder import load_model, save_model
    from .prediction import predict_clips
    from .ratings import RatingEvaluation, evaluate_ratings, predict_ratings, train_ratings
    from .results import Evaluation
    from .synthesis import synthesize_corpus, synthesize_vowel
    from .timelines import Timeline, timeline
    from .training import train

__all__ = [
    "LAYOUTS",
    "Audit",
    "Comparison",
    "Evaluation",
    "FewShot",
    "Finding",
    "RatingEvaluation",
    "Timeline",
    "audit",
    "compare",
    "evaluate",
    "evaluate_fitted",
    "evaluate_ratings",
    "few_shot",
    "load_model",
    "predict_clips",
    "predict_ratings",
    "read_corpus",
    "save_model",
    "synthesize_corpus",
    "synthesize_vowel",
    "timeline",
    "train",
    "train_ratings",
]

_MODULES = {
    "Audit": "findings",
    "Comparison": "comparison",
    "Evaluation": "results",
    "FewShot": "adaptation",
    "Finding": "findings",
    "LAYOUTS": "layouts",
    "RatingEvaluation": "ratings",
    "Timeline": "timelines",
    "audit": "auditing",
    "compare": "comparison",
    "evaluate": "evaluation",
    "evaluate_fitted": "evaluation",
    "evaluate_ratings": "ratings",
    "few_shot": "adaptation",
    "load_model": "model_folder",
    "predict_clips": "prediction",
    "predict_ratings": "ratings",
    "read_corpus": "corpora",
    "save_model": "model_folder",
    "synthesize_corpus": "synthesis",
    "synthesize_vowel": "synthesis",
    "timeline": "timelines",
    "train": "training",
    "train_ratings": "ratings",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, since the command line imports this package for every command."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from ..optional import require

    try:
        module = import_module(f".{_MODULES[name]}", __name__)
    except ModuleNotFoundError as error:
        require(error.name or name)  # names the extra that installs it
        raise
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
