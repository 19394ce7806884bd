"""Factorises ratings with LIBMF, built with AVX from the sources that its package ships. Answers what one epoch takes.

Its own call is made rather than the package's, which copies all ratings before each training.
"""

import ctypes

from rounds import answer_each, timed

import libmf.mf as package
from mf_arguments import given, ratings


class Problem(ctypes.Structure):
    """LIBMF's `mf_problem`."""

    _fields_ = [("m", ctypes.c_int), ("n", ctypes.c_int), ("nnz", ctypes.c_longlong), ("R", ctypes.c_void_p)]


library = package.mf
library.mf_train.restype = ctypes.c_void_p
library.mf_train.argtypes = [ctypes.POINTER(Problem), package.MFParam]
library.mf_destroy_model.argtypes = [ctypes.POINTER(ctypes.c_void_p)]

train = ratings("train")
problem = Problem(given.users, given.items, len(train), train.ctypes.data)


def fit(factors, regularization, epochs):
    options = {"k": factors, "nr_threads": given.threads, "nr_iters": epochs, "quiet": True}
    options |= {"lambda_p1": 0, "lambda_q1": 0, "lambda_p2": regularization, "lambda_q2": regularization}
    parameters = package.MFParam(**{name: options.get(name, usual) for name, _, usual in package.get_default_options()})
    model = ctypes.c_void_p(library.mf_train(problem, parameters))
    library.mf_destroy_model(model)


def answer(factors, regularization, epochs, **_):
    # What it does before the first epoch and after the last is in both.
    _, one = timed(lambda: fit(factors, regularization, 1))
    _, more = timed(lambda: fit(factors, regularization, 1 + epochs))
    return {name: (more[name] - one[name]) / epochs for name in one}


answer_each(answer)
