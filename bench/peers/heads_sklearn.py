"""Topics and tones of texts by scikit-learn and vaderSentiment: how many texts a second, one thread.

    python heads_sklearn.py --texts FILE

FILE is what the example `heads_throughput` of tandem-text writes: topic, tone and text of each line. The first 20,000 are
to train with, with the same options. Times are those on the processor; of three runs the shortest.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import time

import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

TRAINING, RUNS, FOR_VADER = 20_000, 3, 10_000

arguments = argparse.ArgumentParser()
arguments.add_argument("--texts", required=True)
given = arguments.parse_args()

with open(given.texts, encoding="utf-8") as file:
    topics, tones, texts = zip(*(line.rstrip("\n").split("\t") for line in file))
rest = texts[TRAINING:]


def seconds(run):
    start = time.process_time()
    answer = run()
    return time.process_time() - start, answer


def report(name, count, runs, more):
    took = min(took for took, _ in runs)
    print(f"  {name:21}  {count / took:9.0f} texts/s  ({took / count * 1e6:.2f} µs each)  {more}")


options = {"max_features": 5000, "stop_words": "english", "min_df": 2}
print(f"scikit-learn {sklearn.__version__}, vaderSentiment 3.3.2: {TRAINING} texts to train with, {len(rest)} to classify")
for name, words, head, labels in [
    ("TF-IDF + naive Bayes", (1, 2), MultinomialNB(alpha=0.1), topics),
    ("TF-IDF + logistic", (1, 3), LogisticRegression(max_iter=1000, class_weight="balanced"), tones),
]:
    model = make_pipeline(TfidfVectorizer(ngram_range=words, **options), head)
    trained, _ = seconds(lambda: model.fit(texts[:TRAINING], labels[:TRAINING]))
    runs = [seconds(lambda: model.predict(rest)) for _ in range(RUNS)]
    right = sum(found == label for found, label in zip(runs[0][1], labels[TRAINING:])) / len(rest) * 100
    report(name, len(rest), runs, f"trained in {trained:.2f} s, {right:.1f} % right")

analyzer = SentimentIntensityAnalyzer()
some = rest[:FOR_VADER]
runs = [seconds(lambda: [analyzer.polarity_scores(text)["compound"] for text in some])]
tone = [("positive" if score >= 0.05 else "negative" if score <= -0.05 else "neutral") for score in runs[0][1]]
right = sum(found == label for found, label in zip(tone, tones[TRAINING:])) / len(some) * 100
report("VADER", len(some), runs, f"{right:.1f} % right, the first {len(some)}")
