"""Speech classification: reading and auditing corpora, evaluation by speaker, training, prediction and model folders."""

from typing import TYPE_CHECKING

from ..optional import lazy_exports

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

# On first use, since the command line imports this package for every command.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "adaptation": ("FewShot", "few_shot"),
        "auditing": ("audit",),
        "comparison": ("Comparison", "compare"),
        "corpora": ("read_corpus",),
        "evaluation": ("evaluate", "evaluate_fitted"),
        "findings": ("Audit", "Finding"),
        "layouts": ("LAYOUTS",),
        "model_folder": ("load_model", "save_model"),
        "prediction": ("predict_clips",),
        "ratings": ("RatingEvaluation", "evaluate_ratings", "predict_ratings", "train_ratings"),
        "results": ("Evaluation",),
        "synthesis": ("synthesize_corpus", "synthesize_vowel"),
        "timelines": ("Timeline", "timeline"),
        "training": ("train",),
    },
)
