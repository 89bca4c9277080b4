# %% [markdown]
# # A map of sentences
#
# Forty sentences of four kinds become vectors of 512 numbers, with the demo model. Two numbers of them, the ones that tell
# most, place each on a map. The model was trained to go on with stories, and nobody told it which sentences belong together.
#
#     pip install ravenwing matplotlib
#     python embeddings_map.py [PNG]      # or cell by cell, in an editor that knows "# %%"

# %%
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import ravenwing

# %% The sentences, by kind
groups: dict[str, list[str]] = {}
for line in Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines():
    if line.startswith("= "):
        kind = groups.setdefault(line[2:], [])
    elif line and not line.startswith("#"):
        kind.append(line)
texts = [text for group in groups.values() for text in group]
kinds = np.repeat(np.arange(len(groups)), [len(group) for group in groups.values()])

# %% A vector for each, in one call
with ravenwing.Model() as model:
    vectors = model.embed_batch(texts)
print(vectors.shape)

# %% Principal components: the two directions in which the vectors differ most
centred = vectors - vectors.mean(axis=0)
_, sizes, directions = np.linalg.svd(centred, full_matrices=False)
points = centred @ directions[:2].T
shares = sizes**2 / (sizes**2).sum()
print(f"the map shows {shares[:2].sum():.0%} of what the vectors differ by")

# %% How good it is: of each sentence's nearest sentence by cosine, is it of the same kind?
cosines = vectors @ vectors.T
np.fill_diagonal(cosines, -1)
print(f"{(kinds[cosines.argmax(axis=1)] == kinds).mean():.0%} have their nearest neighbour in their own group")

# %% The map
figure, axes = plt.subplots(figsize=(8, 6), dpi=100)
colours = ("#2a78b5", "#c77712", "#3f8a3f", "#b3382c")
for kind, (name, colour) in enumerate(zip(groups, colours)):
    mine = points[kinds == kind]
    axes.scatter(*mine.T, s=36, color=colour, zorder=2)
    # Its name and the sentence in its middle, on the side where there is room.
    middle = mine.mean(axis=0)
    words = " ".join(groups[name][np.linalg.norm(mine - middle, axis=1).argmin()].split()[:7])
    above, right = middle[1] > 0, middle[0] > 0
    axes.annotate(
        f"{name}\n“{words} ...”",
        (mine[:, 0].max() if right else mine[:, 0].min(), mine[:, 1].max() if above else mine[:, 1].min()),
        textcoords="offset points",
        xytext=(0, 8 if above else -8),
        ha="right" if right else "left",
        va="bottom" if above else "top",
        color=colour,
    )
axes.set(title="Forty sentences, by what the demo model makes of them", xticks=[], yticks=[])
axes.set_xlabel(f"first component, {shares[0]:.0%}")
axes.set_ylabel(f"second component, {shares[1]:.0%}")
axes.margins(0.08, 0.16)
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "embeddings_map.png")
