"""Answers of scikit-learn and vaderSentiment for texts that follow from a seed; the tests compare ours with them.

    python make.py OUT.json

Ends with exit code 3 where the packages are missing. `corpus.rs` makes the same texts.
"""

import json
import math
import pathlib
import sys

try:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

HERE = pathlib.Path(__file__).parent
DATA = HERE / "../../../data"
PHRASES = json.loads((HERE / "phrases.json").read_text("utf-8"))
BITS = (1 << 64) - 1
TEXTS, TRAINING, FUZZED = 2000, 1000, 2000


class Random:
    """SplitMix64."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & BITS
        z = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & BITS
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & BITS
        return z ^ (z >> 31)

    def below(self, limit):
        return (self.next() * limit) >> 64

    def unit(self):
        return (self.next() >> 11) / (1 << 53)

    def choose(self, choices):
        return choices[self.below(len(choices))]


def cased(random, words):
    """Sometimes in capitals."""
    return words.upper() if random.below(8) == 0 and words.isascii() else words


def corpus():
    """Texts with a topic and a tone each; those to test with are made of other phrases."""
    random = Random(1)
    topics, tones = sorted(PHRASES["topics"]), sorted(PHRASES["tones"])
    texts = []
    for number in range(TEXTS):
        part = "train" if number < TRAINING else "test"
        topic, tone = random.choose(topics), random.choose(tones)
        text = ""
        for _ in range(2 + random.below(6)):
            kind = random.below(20)
            if kind < 9:
                phrase = random.choose(PHRASES["topics"][topic][part])
            elif kind < 15:
                phrase = random.choose(PHRASES["tones"][tone][part])
            elif kind < 17:
                phrase = random.choose(PHRASES["topics"][random.choose(topics)][part])
            else:
                phrase = random.choose(PHRASES["odd"])
            text += cased(random, phrase) + random.choose(PHRASES["separators"])
        texts.append((text, topic, tone))
    return texts


def column(name):
    lines = (DATA / name).read_text("utf-8").splitlines()
    return [line.split("\t")[0] for line in lines]


def fuzzed():
    """Texts in which the rules of VADER meet."""
    random, rated, emoji = Random(2), column("vader_lexicon.tsv"), column("vader_emoji.tsv")
    texts = []
    for _ in range(FUZZED):
        text = ""
        for _ in range(random.below(16)):
            kind = random.below(20)
            if kind < 8:
                words = random.choose(PHRASES["rules"])
            elif kind < 15:
                words = random.choose(rated)
            elif kind < 16:
                words = random.choose(emoji)
            else:
                words = random.choose(PHRASES["plain"])
            text += cased(random, words) + random.choose(PHRASES["endings"]) + random.choose(PHRASES["spaces"])
        texts.append(text)
    return texts


def dense(classes):
    """Rows of 12 values with a class each."""
    random = Random(3)
    rows, labels = [], []
    for _ in range(300):
        label = random.below(classes)
        rows.append([random.unit() - 0.5 + (0.25 if at % classes == label else 0.0) for at in range(12)])
        labels.append(f"class {label}")
    return np.array(rows, dtype=np.float32).astype(np.float64), labels


def digest(terms):
    """FNV-1a of the terms, one a line."""
    value = 0xCBF29CE484222325
    for byte in "\n".join(terms).encode():
        value = ((value ^ byte) * 0x100000001B3) & BITS
    return f"{value:016x}"


def rounded(array, decimals=9):
    return [[round(float(value), decimals) for value in row] for row in array]


def features(vectorizer, train, test):
    """What is to be compared of a vectorizer: terms, and for each of 300 texts one number that follows from its row."""
    vectorizer.fit(train)
    rows = vectorizer.transform(test[:300])
    weights = 1.0 + np.arange(rows.shape[1]) % 7
    return {
        "columns": rows.shape[1],
        "digest": digest(vectorizer.get_feature_names_out()),
        "idf": round(float(vectorizer.idf_.sum()), 9),
        "rows": [round(float(value), 10) for value in rows @ weights],
    }


def cut_without_tie(train, options, about):
    """A number of terms, where the last that is kept comes up more often than the first that is not: which of equal
    ones are kept depends on the processor (NumPy's argsort is not stable)."""
    vectorizer = TfidfVectorizer(**options, use_idf=False, norm=None)
    counts = np.sort(np.asarray(vectorizer.fit_transform(train).sum(axis=0)).ravel())[::-1]
    return next(at for at in range(about, len(counts)) if counts[at - 1] > counts[at])


def logistic(rows, labels, test, **options):
    """Probabilities where training has really ended; scikit-learn's own L-BFGS stops a little before."""
    model = LogisticRegression(solver="newton-cg", tol=1e-13, max_iter=100_000, **options)
    probabilities = model.fit(rows, labels).predict_proba(test)
    usual = LogisticRegression(solver="lbfgs", tol=1e-10, max_iter=100_000, **options).fit(rows, labels)
    off = np.abs(usual.predict_proba(test) - probabilities).max()
    print(f"lbfgs and newton-cg differ by {off:.1e}", file=sys.stderr)
    # Where it does stop early by so little, no label may differ.
    assert (usual.predict(test) == model.predict(test)).all()
    return probabilities


def main():
    texts = corpus()
    train, test = [text for text, _, _ in texts[:TRAINING]], [text for text, _, _ in texts[TRAINING:]]
    topics, tones = [topic for _, topic, _ in texts[:TRAINING]], [tone for _, _, tone in texts[:TRAINING]]
    golden = {}

    words = {"stop_words": "english", "min_df": 2, "ngram_range": (1, 2)}
    cut = cut_without_tie(train, words, 200)
    variants = {
        "plain": {},
        "pairs": words,
        "cut": words | {"max_features": cut},
        "triples": words | {"ngram_range": (1, 3)},
        "shares": {"ngram_range": (2, 3), "min_df": 0.004, "max_df": 0.03},
        "sublinear": {"sublinear_tf": True, "smooth_idf": False, "lowercase": False},
    }
    golden["max_features"] = cut
    golden["features"] = {name: features(TfidfVectorizer(**options), train, test) for name, options in variants.items()}

    # Topics and tones as the models of articles are trained. 5,000 terms are more than there are.
    vectorizer = TfidfVectorizer(max_features=5000, ngram_range=(1, 2), stop_words="english", min_df=2)
    rows = vectorizer.fit_transform(train)
    bayes = MultinomialNB(alpha=0.1).fit(rows, topics)
    golden["topics"] = rounded(bayes.predict_log_proba(vectorizer.transform(test)))
    joint = MultinomialNB(alpha=0.5, fit_prior=False).fit(rows, topics).predict_joint_log_proba(rows[:50])
    golden["joint"] = rounded(joint)
    golden["topic_labels"] = "".join(str(list(bayes.classes_).index(label)) for label in bayes.predict(vectorizer.transform(test)))

    vectorizer = TfidfVectorizer(max_features=5000, ngram_range=(1, 3), stop_words="english", min_df=2)
    rows = vectorizer.fit_transform(train)
    assert rows.shape[1] < 5000
    found = logistic(rows, tones, vectorizer.transform(test), C=1.0, class_weight="balanced")
    golden["tones"] = rounded(found)

    golden["dense"] = {}
    for name, classes, options in [
        ("four", 4, {"C": 1.0}),
        ("two", 2, {"C": 10.0, "class_weight": "balanced"}),
        ("three", 3, {"C": 0.1, "fit_intercept": False}),
    ]:
        rows, labels = dense(classes)
        golden["dense"][name] = rounded(logistic(rows[:200], labels[:200], rows[200:], **options))

    analyzer = SentimentIntensityAnalyzer()
    scores = []
    for text in fuzzed() + test:
        found = analyzer.polarity_scores(text)
        # Whole numbers: ten-thousandths and thousandths.
        scores.append([round(found["compound"] * 1e4)] + [round(found[key] * 1e3) for key in ("pos", "neu", "neg")])
    golden["vader"] = scores

    assert not any(math.isnan(value) for row in golden["topics"] for value in row)
    lines = json.dumps(golden, separators=(",", ":")).replace("]],", "]],\n").replace("],", "],\n")
    pathlib.Path(sys.argv[1]).write_text(lines + "\n", "utf-8")


main()
