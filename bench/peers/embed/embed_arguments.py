"""What every peer that embeds texts is told, and how it says what it has done.

    --model FOLDER --texts FILE --threads N --precision NAME [--rounds N] [--vectors FILE]

FILE of texts has one JSON string a line. Prints one line of JSON: texts and tokens a second of the best round (one thread: by
time on the processor, so that a busy machine counts less), and the most memory in MiB. `--vectors` keeps the vectors as
raw float32.
"""

import argparse
import json
import resource
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("--model", required=True)
arguments.add_argument("--texts", required=True)
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--precision", choices=["f32", "bf16", "int8"], default="f32")
arguments.add_argument("--rounds", type=int, default=3)
arguments.add_argument("--vectors")
given = arguments.parse_args()

with open(given.texts, encoding="utf-8") as file:
    texts = [json.loads(line) for line in file]


def measure(engine, embed, tokens):
    """Calls `embed`, which gives an array of vectors in the order of texts, and prints what came of it."""
    best, vectors = float("inf"), None
    embed(texts[:32])
    for _ in range(given.rounds):
        wall, busy = time.perf_counter(), time.process_time()
        vectors = embed(texts)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        best = min(best, busy if given.threads == 1 else wall)
    if given.vectors:
        vectors.astype("float32").tofile(given.vectors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    said = {"engine": engine, "precision": given.precision, "threads": given.threads, "texts": len(texts), "tokens": tokens}
    said |= {"texts_per_s": round(len(texts) / best, 1), "tokens_per_s": round(tokens / best), "peak_rss_mib": peak}
    print(json.dumps(said))
