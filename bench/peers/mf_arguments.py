"""What every program that factorises ratings is told: the folder with the ratings `train`, `test` and `liked`, how many users and
items there are, and how many threads it may use."""

import argparse
import pathlib

import numpy as np

arguments = argparse.ArgumentParser()
arguments.add_argument("--ratings", metavar="FOLDER", type=pathlib.Path, required=True)
arguments.add_argument("--users", type=int, required=True)
arguments.add_argument("--items", type=int, required=True)
arguments.add_argument("--threads", type=int, required=True)
given = arguments.parse_args()


def ratings(name):
    """The ratings of one file, as an array of records."""
    return np.fromfile(given.ratings / name, [("user", "<i4"), ("item", "<i4"), ("rating", "<f4")])
