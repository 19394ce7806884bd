"""How far vectors are from others, both as raw float32: `compare_vectors.py FILE OTHERS WIDTH`."""

import json
import sys

import numpy as np

mine, others = (np.fromfile(file, np.float32).reshape(-1, int(sys.argv[3])).astype(np.float64) for file in sys.argv[1:3])
norms = np.linalg.norm(mine, axis=1) * np.linalg.norm(others, axis=1)
cosines = (mine * others).sum(axis=1) / norms


def neighbours(vectors):
    """The nearest other vector of each."""
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -2)
    return likeness.argmax(axis=1)


said = {"texts": len(mine), "cosine_min": cosines.min(), "cosine_mean": cosines.mean()}
said |= {"largest_difference": np.abs(mine - others).max()}
said |= {"same_neighbour": (neighbours(mine) == neighbours(others)).mean()}
print(json.dumps(said))
