"""
Out-of-distribution input

A classifier can only predict classes that it knows. `score_samples` measures how similar a row is to the training rows.
"""

# %%
# The training rows are the digits 0 to 7. At prediction there are also 8 and 9, and digits with shuffled pixels.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier

X, y = load_digits(return_X_y=True)
known = y < 8
X_train, X_test, y_train, y_test = train_test_split(X[known], y[known], random_state=0)
classifier = GenerativeTransportClassifier(estimator="kernel").fit(X_train, y_train)
rng = np.random.default_rng(0)
inputs = {
    "known digits": X_test,
    "digits 8 and 9": X[~known],
    "shuffled pixels": rng.permuted(X_test, axis=1),
}
scores = {name: classifier.score_samples(rows) for name, rows in inputs.items()}

# %%
# The area under the ROC curve is the probability that a known digit scores higher than another input. Confidence, the
# probability of the most probable class, also separates such inputs: compare both on the inputs that you expect.
for name in list(inputs)[1:]:
    known_scores, others = scores["known digits"], scores[name]
    is_known = np.repeat([1, 0], [len(known_scores), len(others)])
    area = roc_auc_score(is_known, np.concatenate([known_scores, others]))
    confidence = [
        classifier.predict_proba(inputs[n]).max(1) for n in ("known digits", name)
    ]
    by_confidence = roc_auc_score(is_known, np.concatenate(confidence))
    print(f"{name:16} score {area:.3f}, confidence {by_confidence:.3f}")

# %%
fig, ax = plt.subplots(num="Scores of known and other inputs")
bins = np.linspace(min(map(np.min, scores.values())), 0, 40)
for hatch, (name, values) in zip(("", "//", ".."), scores.items(), strict=True):
    ax.hist(values, bins, density=True, alpha=0.5, hatch=hatch, label=name)
ax.set(xlabel="score (lower: less similar to the training rows)", ylabel="density")
ax.legend()
plt.show()
