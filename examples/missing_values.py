"""
Missing values and categories: tables without preparation

Gaps, text columns and booleans need no preparation. How much accuracy is lost as more values go missing?
"""

# %%
# A table of cell nuclei. One measurement becomes a word, as is common in tables.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = X.iloc[:, :10].copy()
sizes = pd.qcut(X["mean radius"], 3, labels=["small", "medium", "large"])
X["mean radius"] = sizes.astype(str)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
print(X_train.iloc[:3, :3].to_string())


# %%
# Values are removed at random, in training and test rows. Both classifiers have their defaults. With one split and 228
# test rows, the standard error of an accuracy is about 0.02: read the curves, not single points.
def with_gaps(table, share, seed):
    gaps = np.random.default_rng(seed).random(table.shape) < share
    return table.mask(gaps)


shares = [0, 0.2, 0.4, 0.6]
accuracy = {"generative transport": [], "gradient boosting": []}
for share in shares:
    train, test = with_gaps(X_train, share, 0), with_gaps(X_test, share, 1)
    ours = GenerativeTransportClassifier(random_state=0).fit(train, y_train)
    accuracy["generative transport"].append(ours.score(test, y_test))
    # scikit-learn's classifier that also takes gaps and categories.
    words = {"mean radius": sizes.cat.categories}
    train, test = (
        t.assign(**{c: pd.Categorical(t[c], words[c]) for c in words})
        for t in (train, test)
    )
    boosting = HistGradientBoostingClassifier(random_state=0)
    accuracy["gradient boosting"].append(
        boosting.fit(train, y_train).score(test, y_test)
    )

for name, scores in accuracy.items():
    print(f"{name:22}", *(f"{score:.3f}" for score in scores))

# %%
fig, ax = plt.subplots(num="Accuracy against the share of missing values")
for name, scores in accuracy.items():
    ax.plot(shares, scores, marker="o", label=name)
ax.set(xlabel="share of missing values", ylabel="accuracy on other rows")
ax.legend()
plt.show()

# %%
# Words become columns of 0 and 1, with a column for missing words. These are the columns of the last classifier.
print(ours.table_encoder_.get_feature_names_out())
