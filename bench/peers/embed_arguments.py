"""What every program that embeds texts is told, and how it answers.

FILE of texts has one JSON string a line. A question may name a file for the vectors, which are written as raw float32 in the
order of texts.
"""

import argparse
import json

from rounds import answer_each, timed

BATCH = 32

arguments = argparse.ArgumentParser()
arguments.add_argument("--model", required=True)
arguments.add_argument("--texts", metavar="FILE", required=True)
arguments.add_argument("--threads", type=int, required=True)
arguments.add_argument("--precision", required=True)
given = arguments.parse_args()

with open(given.texts, encoding="utf-8") as file:
    texts = [json.loads(line) for line in file]


def embed_when_asked(embed, tokens):
    """Has `embed` give an array of the vectors of some texts; `tokens` is how many all texts have."""

    def answer(vectors):
        made, took = timed(lambda: embed(texts))
        if vectors:
            made.astype("float32").tofile(vectors)
        return took | {"tokens": tokens}

    answer_each(answer)
