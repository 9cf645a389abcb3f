"""
Adding a class later

A classifier knows nine digits. `partial_fit` adds the tenth from a few rows, without the old rows.
"""

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
known = y_train != 9
before = GenerativeTransportClassifier(estimator="kernel").fit(
    X_train[known], y_train[known]
)
nines = y_test == 9
print(f"accuracy on old digits: {before.score(X_test[~nines], y_test[~nines]):.3f}")
guesses, counts = np.unique(before.predict(X_test[nines]), return_counts=True)
print(
    "predictions for nines:", dict(zip(guesses.tolist(), counts.tolist(), strict=True))
)

# %%
# Each new row becomes a centre of the kernel, in closed form. The old classes keep their codes.
added = [1, 2, 5, 10, 20]
old, new = [], []
for count in added:
    classifier = copy.deepcopy(before)
    classifier.partial_fit(X_train[~known][:count], y_train[~known][:count])
    old.append(classifier.score(X_test[~nines], y_test[~nines]))
    new.append(classifier.score(X_test[nines], y_test[nines]))
    print(f"{count:3} rows of the new class: old {old[-1]:.3f}, new {new[-1]:.3f}")

# %%
fig, ax = plt.subplots(num="Accuracy on the old classes and on the new class")
ax.plot(added, old, marker="o", label="nine old classes")
ax.plot(added, new, marker="s", label="new class")
ax.set(
    xlabel="added rows of the new class",
    ylabel="accuracy",
    xticks=added,
)
ax.legend()
plt.show()
