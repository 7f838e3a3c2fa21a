"""Trains the tumor example: a random forest on scikit-learn's breast cancer data.

The data is "Breast Cancer Wisconsin (Diagnostic)" by W. Wolberg, O. Mangasarian, N. Street and
W. Street (UCI Machine Learning Repository, 1995, CC BY 4.0), which comes with scikit-learn.

    python train.py

writes model.onnx, metrics.json and golden.jsonl to ../models/tumor/1. The model is converted with
skl2onnx's default options, so its probabilities come out of a ZipMap as a sequence of maps.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split

SEED = 1
HELD_OUT_SHARE = 0.25
GOLDEN_CASES = 20
GRID = {"max_features": [3, 5, 10], "min_samples_leaf": [1, 2, 4]}
OUTPUT = Path(__file__).resolve().parent.parent / "models" / "tumor" / "1"


def load_rows():
    """Features as the float32 the model will be given, and labels as strings."""
    data = load_breast_cancer()
    return data.data.astype(np.float32), data.target_names[data.target].astype(str)


def train(features, labels):
    """A forest whose settings are chosen by cross-validated log loss on the training part."""
    forest = RandomForestClassifier(n_estimators=100, random_state=SEED)
    search = GridSearchCV(forest, GRID, scoring="neg_log_loss", cv=5)
    return search.fit(features, labels)


def convert(forest):
    inputs = [("features", FloatTensorType([None, 30]))]
    return to_onnx(forest, initial_types=inputs, name="tumor").SerializeToString()


def run(model, features):
    """Predicted labels, and one map from label to probability for each row."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["output_label", "output_probability"], {"features": features})


def measure(model, search, features, labels, training_labels):
    """Held-out figures; the baseline always answers the most frequent training label."""
    predicted, maps = run(model, features)
    malignant = np.array([row["malignant"] for row in maps])
    names, counts = np.unique(training_labels, return_counts=True)
    majority = np.full(len(labels), names[counts.argmax()])
    best = search.cv_results_["mean_test_score"][search.best_index_]
    return {
        "trainingRows": len(training_labels),
        "heldOutRows": len(labels),
        "chosenByCrossValidation": search.best_params_,
        "crossValidatedLogLoss": round(float(-best), 4),
        "accuracy": round(float(np.mean(predicted == labels)), 4),
        "macroF1": round(float(f1_score(labels, predicted, average="macro")), 4),
        "malignantF1": round(float(f1_score(labels, predicted, pos_label="malignant")), 4),
        "missedMalignant": int(np.sum((labels == "malignant") & (predicted == "benign"))),
        "falseAlarms": int(np.sum((labels == "benign") & (predicted == "malignant"))),
        "rocAuc": round(float(roc_auc_score(labels == "malignant", malignant)), 4),
        "logLoss": round(float(log_loss(labels == "malignant", malignant)), 4),
        "majorityBaseline": {
            "accuracy": round(float(np.mean(majority == labels)), 4),
            "macroF1": round(float(f1_score(labels, majority, average="macro")), 4),
        },
    }


def golden_cases(model, features):
    """The first held-out rows, each run alone; right answers or not."""
    for row in features[:GOLDEN_CASES]:
        # The shortest decimal of each float32: it reads back as exactly that float32.
        values = [float(str(value)) for value in row]
        _, maps = run(model, np.array([values], np.float32))
        label, probability = max(maps[0].items(), key=lambda item: item[1])
        expected = {"prediction": label, "confidence": round(float(probability), 6)}
        yield {"input": {"features": values}, "expected": expected, "tolerance": 0.0001}


def main():
    features, labels = load_rows()
    train_x, held_x, train_y, held_y = train_test_split(
        features, labels, test_size=HELD_OUT_SHARE, stratify=labels, random_state=SEED)
    search = train(train_x, train_y)
    model = convert(search.best_estimator_)
    metrics = measure(model, search, held_x, held_y, train_y)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "model.onnx").write_bytes(model)
    (OUTPUT / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    cases = golden_cases(model, held_x)
    (OUTPUT / "golden.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
