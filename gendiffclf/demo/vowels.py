"""`gendiffclf demo-speech`: features, classification and evaluation of synthesised vowels."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from sklearn.pipeline import make_pipeline

from ..classifier import GenerativeTransportClassifier
from ..device import thread_limit
from ..featurizers import AcousticFeaturizer
from ..speech.evaluation import evaluate
from ..speech.results import Evaluation
from ..speech.synthesis import synthesize_corpus


def run_speech_demo(
    *,
    n_speakers: int = 12,
    n_takes: int = 2,
    n_folds: int = 4,
    random_state: int = 0,
    parameters: dict[str, Any] | None = None,
) -> dict[str, Evaluation]:
    """
    Synthesise vowels of several speakers, and cross-validate the classification of vowel and gender by speaker.

    There are `n_takes` clips per vowel and speaker; the `n_folds` >= 2 folds keep speakers together. `parameters` are those of
    the classifier. The results are of the tasks "vowel" and "gender".
    """
    start = time.perf_counter()
    classifier = GenerativeTransportClassifier(random_state=random_state, **(parameters or {}))
    pipeline = make_pipeline(AcousticFeaturizer(cache=None), classifier)
    evaluations = {}
    with tempfile.TemporaryDirectory() as folder, thread_limit(1):
        corpus = synthesize_corpus(folder, n_speakers=n_speakers, n_takes=n_takes, random_state=random_state)
        print(
            f"{len(corpus)} synthesised clips of {n_speakers} speakers, acoustic features, {n_folds} folds by speaker\n"
        )
        for task, table in (("vowel", corpus), ("gender", corpus.assign(label=corpus["gender"]))):
            evaluations[task] = evaluate(pipeline, table, n_folds=n_folds, random_state=random_state)
            print(f"{task}\n{evaluations[task]}\n")
    print("Vowels are named by words that contain them; formants and pitch are from Peterson and Barney (1952).")
    print(f"Training and test speakers are different in each fold. Total time: {time.perf_counter() - start:.0f} s.")
    return evaluations
