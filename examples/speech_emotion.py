"""
Speech emotion: from clips to results for new voices

The steps are the same for any label of speech. Corpora of emotional speech may not be redistributed, so this example
synthesises voices, and ten vowels stand in for emotions.
"""

# %%
# A corpus is a table with one row per clip: path, label and speaker. `read_corpus` builds it from folders.
import tempfile

import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import make_pipeline

from gendiffclf import AcousticFeaturizer, GenerativeTransportClassifier
from gendiffclf.speech import audit, evaluate, synthesize_corpus

folder = tempfile.TemporaryDirectory()
corpus = synthesize_corpus(folder.name, n_speakers=10, n_takes=2, random_state=0)
print(corpus[["label", "speaker", "gender"]].iloc[::30].to_string())

# %%
# `audit` looks for faults that would invalidate results, such as copies of a clip under another speaker.
findings = audit(corpus).findings
print([finding.code for finding in findings])

# %%
# Acoustic features need no weights. To use a pretrained encoder, take `HubertFeaturizer("facebook/hubert-large-ll60k")` instead.
# No speaker is in both training and test, and the intervals are over speakers.
classifier = GenerativeTransportClassifier(estimator="kernel", random_state=0)
pipeline = make_pipeline(AcousticFeaturizer(cache=None), classifier)
evaluation = evaluate(pipeline, corpus, n_folds=3, random_state=0)
print(evaluation.intervals.loc[["uar", "wa"]].round(3).to_string())

# %%
# These voices are so clear that hardly a vowel is taken for another. Real speech is harder; see the page on speech results.
fig, ax = plt.subplots(
    num="Confusion matrix of vowels for new voices", figsize=(4.8, 4.8)
)
display = ConfusionMatrixDisplay(
    evaluation.confusion, display_labels=evaluation.classes
)
display.plot(ax=ax, cmap="Blues", colorbar=False, xticks_rotation=60)
plt.show()
