"""
The exact path: a row travels to the code of its class

The method in one picture: the features of a row move to the code of its class, and the class probabilities determine
the path.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
classifier = GenerativeTransportClassifier(estimator="kernel").fit(X_train, y_train)
threes = np.flatnonzero(y_test == 3)
certainty = classifier.predict_proba(X_test[threes])[:, 3]
row = int(threes[np.abs(certainty - 0.8).argmin()])  # a somewhat unclear 3
states = classifier.transport(X_test[[row]], n_steps=20, return_path=True)[:, 0]
code = states[-1]
proba = classifier.predict_proba(X_test[[row]])[0]
print(f"{len(states)} states of {states.shape[1]} coordinates")

# %%
# The state of the row at three times (blue), the code of its class (orange), and the class probabilities.
fig, axes = plt.subplot_mosaic(
    [["row", "features", "way"], ["code", "probabilities", "probabilities"]],
    num="A row travels from its features to the code of its class; the probabilities follow",
    figsize=(5.4, 3.6),
)
axes["row"].imshow(X_test[row].reshape(8, 8), cmap="Greys")
axes["row"].set_title("a row: 64 pixels", fontsize="medium")
axes["row"].set(xticks=[], yticks=[])
titles = {
    "features": "1. its features",
    "way": "2. on the way",
    "code": "3. code of its class",
}
for (name, title), number in zip(titles.items(), (0, 12, 20), strict=True):
    ax = axes[name]
    ax.plot(code, color="C1", linestyle="-", linewidth=5, alpha=0.4)
    ax.plot(states[number], color="C0", linestyle="-", linewidth=1.2)
    ax.set_title(title, fontsize="medium")
    ax.set(
        xticks=[],
        yticks=[],
        ylim=(states.min(), states.max()),
        xlabel=f"t = {1 - number / 20:g}",
    )
colours = ["C1" if label == 3 else "C0" for label in range(10)]
axes["probabilities"].bar(range(10), proba, color=colours)
axes["probabilities"].set_title(
    "4. probabilities of the ten classes", fontsize="medium"
)
axes["probabilities"].set(xticks=range(10), yticks=[0, 0.5, 1], ylim=(0, 1))
plt.show()

# %%
# The probabilities determine the whole path, so predictions do not depend on the number of steps. Random transports
# end in each class with the probability from `predict_proba`. For example, the row with the least certain prediction:
unsure = int(classifier.predict_proba(X_test).max(1).argmin())
drawn = classifier.sample(X_test[[unsure]], n_draws=2000, random_state=0)[0]
shares = np.bincount(drawn, minlength=10) / 2000
print("predicted", np.round(classifier.predict_proba(X_test[[unsure]])[0], 2))
print("sampled  ", np.round(shares, 2))
