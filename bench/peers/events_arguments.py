"""What every program of the jobs `events` and `clean` is told: which job, its files, and how many threads it may use."""

import argparse

arguments = argparse.ArgumentParser()
arguments.add_argument("--job", choices=["events", "clean"], required=True)
arguments.add_argument("--events", required=True)
arguments.add_argument("--products", required=True)
arguments.add_argument("--out", required=True)
arguments.add_argument("--threads", type=int, required=True)
given = arguments.parse_args()
