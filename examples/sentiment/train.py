"""Trains the two versions of the sentiment example and measures them once on held-out sentences.

    python train.py sentences.tsv

The data is that of C.J. Hutto and E.E. Gilbert, "VADER: A Parsimonious Rule-based Model for
Sentiment Analysis of Social Media Text", ICWSM 2014 (MIT licence, github.com/cjhutto/vaderSentiment):
sentences rated by 20 people each. The file has a header and the tab-separated columns
source (tweet, movie, amazon, nyt), rating (mean, -4 to +4) and text.

Writes model.onnx and metrics.json to ../models/sentiment/<version> and the figures into the README.
"""

import argparse
import csv
import hashlib
import html
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from text_graph import build_model, session, tokenize

SEED = 1
HELD_OUT_SHARE = 0.2
CLEAR = 0.5  # a rating nearer to zero than this has no clear sign
FOLDS = 5
CLASSES = ["negative", "positive"]
SOURCES = ["tweet", "movie", "amazon", "nyt"]
OUTPUT = Path(__file__).resolve().parent.parent / "models" / "sentiment"

VERSIONS = {
    # Which words occur; a plain logistic regression on the clear sentences.
    "1.0": {
        "blocks": [("words", 1, 1, 3)],  # token kind, shortest, longest, least sentences
        "naive_bayes": False,
        "strength": None,
        "penalties": [0.2, 0.4, 0.8, 1.6],
    },
    # Words, pairs and pieces of words, weighted by their naive Bayes log ratio and brought to
    # length 1; learns from how strong each rating is, the unclear ones included.
    "2.0": {
        "blocks": [("words", 1, 2, 3), ("characters", 3, 5, 12)],
        "naive_bayes": True,
        "strength": 2.0,
        "penalties": [2, 4, 8],
    },
}


def load_sentences(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return {
        "source": np.array([row["source"] for row in rows]),
        "rating": np.array([float(row["rating"]) for row in rows]),
        "text": np.array([html.unescape(row["text"]) for row in rows], dtype=object),
    }


def held_out_mask(texts):
    """True where a text is held out: by a hash of its letters, so duplicates stay together."""
    def fraction(text):
        letters = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
        digest = hashlib.sha256(f"mlserving-sentiment-{SEED}:{letters}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32
    return np.array([fraction(text) < HELD_OUT_SHARE for text in texts])


def select(sentences, mask):
    return {column: values[mask] for column, values in sentences.items()}


def is_positive(sentences):
    return (sentences["rating"] > 0).astype(int)


def is_clear(sentences):
    return np.abs(sentences["rating"]) >= CLEAR


def ngram_sets(tokens, shortest, longest):
    sizes = range(shortest, longest + 1)
    return [
        {tuple(row[i:i + size]) for size in sizes for i in range(len(row) - size + 1)}
        for row in tokens
    ]


def vocabulary(sets, least):
    """The ASCII n-grams that occur in at least so many sentences, shortest first."""
    counts = Counter(ngram for row in sets for ngram in row)
    kept = (n for n, count in counts.items() if count >= least and "".join(n).isascii())
    return sorted(kept, key=lambda ngram: (len(ngram), ngram))


def featurize(texts, version):
    """Presence of n-grams as a sparse matrix, and the (kind, n-grams) blocks of its columns."""
    blocks, matrices = [], []
    for kind, shortest, longest, least in version["blocks"]:
        sets = ngram_sets(tokenize(kind, texts), shortest, longest)
        ngrams = vocabulary(sets, least)
        index = {ngram: column for column, ngram in enumerate(ngrams)}
        columns = [sorted(index[ngram] for ngram in row if ngram in index) for row in sets]
        starts = np.cumsum([0] + [len(row) for row in columns])
        ones = np.ones(starts[-1])
        matrices.append(sparse.csr_matrix((ones, np.concatenate(columns), starts),
                                          shape=(len(sets), len(ngrams))))
        blocks.append((kind, ngrams))
    return sparse.hstack(matrices).tocsr(), blocks


def log_ratios(presence, positive):
    """Naive Bayes: how much likelier each n-gram is in positive than in negative sentences."""
    counts = [1 + np.asarray(presence[positive == side].sum(0)).ravel() for side in (1, 0)]
    shares = [count / count.sum() for count in counts]
    return np.log(shares[0]) - np.log(shares[1])


def scaled(presence, ratios):
    """Each n-gram weighted by its ratio, each row brought to length 1."""
    lengths = np.sqrt(np.maximum(presence @ ratios**2, 1e-6))
    return sparse.csr_matrix(sparse.diags(1 / lengths) @ presence @ sparse.diags(ratios))


def fit(presence, sentences, version, penalty):
    """A logistic regression, and the ratios it wants its features scaled by (or None)."""
    clear, positive = is_clear(sentences), is_positive(sentences)
    ratios = log_ratios(presence[clear], positive[clear]) if version["naive_bayes"] else None
    features = presence if ratios is None else scaled(presence, ratios)
    classifier = LogisticRegression(C=penalty, max_iter=1000)
    if version["strength"] is None:
        return classifier.fit(features[clear], positive[clear]), ratios
    # A rating becomes a share of positive: each sentence counts as both, by that share.
    share = 1 / (1 + np.exp(-version["strength"] * sentences["rating"]))
    twice = sparse.vstack([features, features])
    sides = np.repeat([1, 0], len(share))
    return classifier.fit(twice, sides, np.concatenate([share, 1 - share])), ratios


def decision(classifier, ratios, presence):
    return classifier.decision_function(presence if ratios is None else scaled(presence, ratios))


def best_slope(logits, positive):
    """The factor on the logits that makes the probabilities fit best, and the log loss then."""
    signs = 2 * positive - 1
    found = minimize_scalar(lambda slope: np.mean(np.logaddexp(0, -signs * logits * slope)),
                            bounds=(0.2, 5), method="bounded")
    return found.x, found.fun


def cross_validate(presence, sentences, version, penalty):
    """Accuracy, slope and log loss on clear sentences that the fold had not seen."""
    clear, positive = is_clear(sentences), is_positive(sentences)
    strata = [f"{s}{c}{p}" for s, c, p in zip(sentences["source"], clear, positive)]
    logits = np.zeros(len(positive))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(strata, strata)
    for seen, unseen in folds:
        mask = np.isin(np.arange(len(positive)), seen)
        fitted = fit(presence[mask], select(sentences, mask), version, penalty)
        logits[unseen] = decision(*fitted, presence[unseen])
    slope, loss = best_slope(logits[clear], positive[clear])
    accuracy = np.mean((logits > 0)[clear] == positive[clear])
    return {"C": penalty, "accuracy": round(float(accuracy), 4), "logLoss": round(float(loss), 4),
            "slope": round(float(slope), 4)}


def train(sentences, version):
    """The model file and what cross-validation on the training part said."""
    presence, blocks = featurize(sentences["text"], version)
    tried = [cross_validate(presence, sentences, version, c) for c in version["penalties"]]
    chosen = min(tried, key=lambda result: result["logLoss"])
    classifier, ratios = fit(presence, sentences, version, chosen["C"])
    weights = classifier.coef_[0] * chosen["slope"]
    bias = float(classifier.intercept_[0]) * chosen["slope"]
    if ratios is None:
        model = build_model(blocks, weights, None, bias, CLASSES)
    else:
        model = build_model(blocks, weights * ratios, ratios**2, bias, CLASSES)
    return model, {"features": presence.shape[1], "tried": tried, "chosen": chosen}


def predict(model, texts):
    """The probability of positive, each text run alone on the finished file."""
    run = session(model).run
    rows = (run(["probabilities"], {"text": np.array([t], dtype=object)})[0][0] for t in texts)
    return np.array([row[1] for row in rows], dtype=float)


def calibration_error(probability, positive, bins=10):
    """How far confidence is from accuracy, in bins of equal width, weighted by their rows."""
    confidence = np.maximum(probability, 1 - probability)
    right = (probability > 0.5) == positive
    bin_of = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    gaps = [abs(np.sum(confidence[bin_of == b]) - np.sum(right[bin_of == b])) for b in range(bins)]
    return sum(gaps) / len(confidence)


def figures(probability, positive):
    predicted = (probability > 0.5).astype(int)
    likelihood = np.where(positive == 1, probability, 1 - probability)
    values = {
        "accuracy": np.mean(predicted == positive),
        "macroF1": f1_score(positive, predicted, average="macro", zero_division=0),
        "positiveF1": f1_score(positive, predicted, zero_division=0),
        "logLoss": -np.mean(np.log(likelihood)),
        "calibrationError": calibration_error(probability, positive),
    }
    return {"rows": len(positive)} | {name: round(float(value), 4) for name, value in values.items()}


def measure(probability, held_out, training):
    """Figures on clear held-out sentences in all and by source, and on the unclear ones.

    The baseline always answers the class that is more frequent in training (of that source).
    """
    report = {}
    for name in ["all", *SOURCES]:
        of = [is_clear(s) & ((s["source"] == name) | (name == "all")) for s in (held_out, training)]
        positive = is_positive(held_out)[of[0]]
        share = np.mean(is_positive(training)[of[1]])
        report[name] = figures(probability[of[0]], positive)
        report[name]["baseline"] = figures(np.full(len(positive), share), positive)
    unclear = ~is_clear(held_out) & (held_out["rating"] != 0)
    report["leftOut"] = figures(probability[unclear], is_positive(held_out)[unclear])
    sure = np.maximum(probability, 1 - probability)
    report["meanConfidence"] = {"clear": round(float(np.mean(sure[is_clear(held_out)])), 4),
                                "leftOut": round(float(np.mean(sure[unclear])), 4)}
    signed = held_out["rating"] != 0
    report["everythingButZero"] = figures(probability[signed], is_positive(held_out)[signed])
    return report


def figure_table(metrics):
    """The README's table, from the numbers in metrics.json."""
    columns = ["accuracy", "macroF1", "positiveF1", "logLoss", "calibrationError"]
    lines = ["| " + " | ".join(["held-out sentences", "rows", "model", *columns]) + " |",
             "|---" * (3 + len(columns)) + "|"]
    for part in ["all", *SOURCES, "leftOut", "everythingButZero"]:
        first = next(iter(metrics.values()))["heldOut"][part]
        models = {v: m["heldOut"][part] for v, m in metrics.items()}
        if "baseline" in first:
            models = {"majority class": first["baseline"], **models}
        for model, values in models.items():
            cells = " | ".join(f"{values[column]:.4f}" for column in columns)
            lines.append(f"| {part} | {values['rows']} | {model} | {cells} |")
    return "\n".join(lines)


def update_readme(metrics):
    readme = OUTPUT / "README.md"
    begin, end = "<!-- figures -->", "<!-- /figures -->"
    before, rest = readme.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    table = figure_table(metrics)
    readme.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sentences", type=Path, help="the rated sentences, tab-separated")
    sentences = load_sentences(parser.parse_args().sentences)
    mask = held_out_mask(sentences["text"])
    training, held_out = select(sentences, ~mask), select(sentences, mask)
    metrics = {}
    for name, version in VERSIONS.items():
        model, cross_validation = train(training, version)
        rows = {"training": len(training["text"]), "trainingClear": int(is_clear(training).sum()),
                "heldOut": len(held_out["text"]), "heldOutClear": int(is_clear(held_out).sum())}
        metrics[name] = {"rows": rows, "crossValidation": cross_validation,
                         "heldOut": measure(predict(model, held_out["text"]), held_out, training)}
        folder = OUTPUT / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model)
        (folder / "metrics.json").write_text(json.dumps(metrics[name], indent=2) + "\n")
    update_readme(metrics)
    print(figure_table(metrics))


if __name__ == "__main__":
    main()
