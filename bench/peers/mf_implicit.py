"""Factorises what was liked with implicit's alternating least squares. Answers what one iteration takes; writes the rows of users
and items as raw float32 to files named in the question."""

import numpy as np
import scipy.sparse
from implicit.cpu.als import AlternatingLeastSquares

from mf_arguments import given, ratings
from rounds import answer_each, timed

liked = ratings("liked")


def answer(factors, iterations, alpha, regularization, seed, users, items, **_):
    # Its entries are confidences; ours are what is added to the 1 of pairs that never occurred.
    confidences = 1 + alpha * liked["rating"]
    matrix = scipy.sparse.csr_matrix((confidences, (liked["user"], liked["item"])), (given.users, given.items))
    parameters = {"factors": factors, "regularization": regularization, "alpha": 1.0, "random_state": seed}

    def fit(iterations):
        model = AlternatingLeastSquares(**parameters, iterations=iterations, num_threads=given.threads)
        model.fit(matrix, show_progress=False)
        return model

    # What it does before the first iteration is in both.
    _, one = timed(lambda: fit(1))
    model, more = timed(lambda: fit(iterations))
    for file, rows in [(users, model.user_factors), (items, model.item_factors)]:
        np.asarray(rows, np.float32).tofile(file)
    return {name: (more[name] - one[name]) / (iterations - 1) for name in one}


answer_each(answer)
