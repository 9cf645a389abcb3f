"""
Embeddings: a few labelled rows are enough

A frozen encoder turns texts, images or sounds into vectors, and a small classifier on top learns the labels. Here the
encoder is a network trained on the digits 0 to 4, and the classes to learn are 5 to 9, which it has never seen.
"""

# %%
# The encoder's hidden layer is the embedding. With your own data, use a text or speech encoder here, or anything that
# returns an array of shape (rows, features).
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import GenerativeTransportClassifier

pixels, digit = load_digits(return_X_y=True)
pixels = pixels / 16
encoder = MLPClassifier(128, max_iter=60, tol=0, n_iter_no_change=60, random_state=0)
encoder.fit(pixels[digit < 5], digit[digit < 5])
hidden = pixels @ encoder.coefs_[0] + encoder.intercepts_[0]
X, y = np.maximum(hidden, 0)[digit >= 5], digit[digit >= 5]
print(f"{X.shape[0]} rows of {X.shape[1]} features, {len(np.unique(y))} classes")

# %%
# How accurate is each classifier with 5, 10, 20 or 40 training rows per class? For embeddings, `estimator="kernel"` is
# fast and needs no network. Each figure is the mean over five random training sets.
classifiers = {
    "generative transport": GenerativeTransportClassifier(
        estimator="kernel", random_state=0
    ),
    "logistic regression": make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=500)
    ),
    "nearest neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier()),
}
counts = [5, 10, 20, 40]
accuracy = {name: np.zeros((5, len(counts))) for name in classifiers}
for seed in range(5):
    order = np.random.default_rng(seed).permutation(len(y))
    by_class = [order[y[order] == label] for label in np.unique(y)]
    test = np.concatenate([rows[40:] for rows in by_class])
    for column, count in enumerate(counts):
        train = np.concatenate([rows[:count] for rows in by_class])
        for name, classifier in classifiers.items():
            score = classifier.fit(X[train], y[train]).score(X[test], y[test])
            accuracy[name][seed, column] = score

for name, scores in accuracy.items():
    print(f"{name:22}", *(f"{score:.3f}" for score in scores.mean(0)))

# %%
fig, ax = plt.subplots(num="Accuracy against labelled rows per class")
for name, scores in accuracy.items():
    ax.plot(counts, scores.mean(0), marker="o", label=name)
ax.set(xlabel="labelled rows per class", ylabel="accuracy on other rows", xticks=counts)
ax.legend()
plt.show()
