"""
Votes of several raters

When several people label a row and disagree, the majority label discards information. `fit_votes` learns from all votes.
"""

# %%
# In a simulation the truth is known: two classes overlap, and raters vote with the true probabilities.
import matplotlib.pyplot as plt
import numpy as np

from gendiffclf import GenerativeTransportClassifier, jensen_shannon_divergence

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 2))
truth = 1 / (1 + np.exp(-2 * X[:, 0] - 2 * np.sin(2 * X[:, 1])))
truth = np.stack([1 - truth, truth], axis=1)
votes = np.stack([rng.multinomial(5, p) for p in truth])
train, test = slice(0, 200), slice(200, None)
print(votes[:4].tolist(), "votes of five raters")

# %%
# One classifier learns from the majority, the other from all votes. Both are compared with the true probabilities.
majority = GenerativeTransportClassifier(random_state=0)
majority.fit(X[train], votes[train].argmax(1))
by_votes = GenerativeTransportClassifier(random_state=0)
by_votes.fit_votes(X[train], votes[train])
for name, classifier in {"majority": majority, "votes": by_votes}.items():
    proba = classifier.predict_proba(X[test])
    distance = jensen_shannon_divergence(truth[test], proba)
    print(f"{name:9} distance from the true probabilities: {distance:.4f} nats")

# %%
# Learning from the majority makes the probabilities too extreme.
fig, ax = plt.subplots(num="Predicted against true probability of the second class")
for marker, (name, classifier) in zip(
    "os", {"majority": majority, "votes": by_votes}.items(), strict=True
):
    stated = classifier.predict_proba(X[test])[:, 1]
    ax.plot(
        truth[test, 1],
        stated,
        marker,
        markersize=3,
        alpha=0.7,
        label=f"learnt from {name}",
    )
ax.axline((0, 0), slope=1, color="grey", linestyle=":")
ax.set(xlabel="true probability", ylabel="predicted probability")
ax.legend()
plt.show()
