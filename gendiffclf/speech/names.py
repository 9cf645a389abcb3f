"""Names and words for messages, apart from the code, so that the command line loads them quickly."""

TITLES = {
    "wa": "WA",
    "uar": "UAR",
    "macro_f1": "macro-F1",
    "log_loss": "log-loss",
    "ece": "ECE",
    "jensen_shannon": "Jensen-Shannon divergence",
    "cross_entropy": "cross-entropy",
    "majority_accuracy": "accuracy against the majority",
}
MEASURES, VOTE_MEASURES = tuple(TITLES)[:5], tuple(TITLES)[5:]
MEANS_OVER_CLASSES = ("uar", "macro_f1")
LOWER_IS_BETTER = ("log_loss", "ece", "jensen_shannon", "cross_entropy")
FOLDS = ("speaker", "leave-one-speaker-out", "split", "random")
SYSTEMS = ("gen-ser", "emosphere", "selm")
PRESETS = ("default", "gen-ser")
NO_CONTENT = "clip "
"""What names stand for the content of broken and silent clips begin with, before their numbers; digests do not."""


def counted(n: int, noun: str) -> str:
    """A number and its noun for a message: "1 clip", "2 clips"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
