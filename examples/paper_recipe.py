"""
The paper's recipe on a small table

Gen-SER trains a network with a time input for every step of the path; `LearnedPath` is that method. By default, the
package keeps the path exact and only learns the estimate of the code. This example compares both.
"""

# %%
# `from_preset("gen-ser")` has the paper's sizes, which need a GPU. This is the same recipe in small: one network of width
# 64, Euler's method, and ten steps. With 72 test rows of one split, a difference of one or two rows is chance.
import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier, LearnedPath

X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.4, stratify=y, random_state=0
)
learned = GenerativeTransportClassifier(
    path=LearnedPath(solver="euler", n_steps=10),
    estimator="network",
    width=64,
    n_members=1,
    max_steps=300,
    random_state=0,
).fit(X_train, y_train)
exact = GenerativeTransportClassifier(random_state=0).fit(X_train, y_train)
for name, classifier in {"learned path": learned, "exact path": exact}.items():
    loss = log_loss(y_test, classifier.predict_proba(X_test))
    print(
        f"{name:13} accuracy {classifier.score(X_test, y_test):.3f}, log-loss {loss:.3f}"
    )

# %%
# On a learned path, the end of the path depends on the number of steps.
fig, ax = plt.subplots(num="Three coordinates of a row on its learned path")
for n_steps, style in ((2, ":"), (5, "--"), (20, "-")):
    states = learned.transport(X_test[:1], n_steps=n_steps, return_path=True)[:, 0]
    times = [1 - i / n_steps for i in range(n_steps + 1)]
    for coordinate in range(3):
        label = f"{n_steps} steps" if coordinate == 0 else None
        ax.plot(
            times, states[:, coordinate], style, color=f"C{coordinate}", label=label
        )
ax.invert_xaxis()
ax.set(xlabel="t, from features (1) to code (0)", ylabel="value of a coordinate")
ax.legend()
plt.show()
