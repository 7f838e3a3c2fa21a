"""The model that a server serves: the bench names its file of JSON in BENCH_MODEL."""

import json
import os

import numpy as np
import onnxruntime

with open(os.environ["BENCH_MODEL"]) as file:
    _spec = json.load(file)

NAME = _spec["input"]["name"]
SHAPE = _spec["input"]["shape"]
OUTPUT = _spec["output"]
KIND = _spec["input"]["dtype"]
DTYPE = {"float32": np.float32, "int64": np.int64, "string": np.object_}[KIND]
# Rows are flat lists, except where the model leaves sizes open.
NESTED = isinstance(_spec["rows"][0], list) and isinstance(_spec["rows"][0][0], list)


def open_session(threads: int = 0) -> onnxruntime.InferenceSession:
    """`threads` of one run: by default as many as there are cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(_spec["file"], options, providers=["CPUExecutionProvider"])


def array_of(rows) -> np.ndarray:
    """A batch, of rows as they stand in a body."""
    return np.asarray(rows, dtype=DTYPE).reshape([-1, *SHAPE])


def run(session: onnxruntime.InferenceSession, batch: np.ndarray) -> np.ndarray:
    return session.run([OUTPUT], {NAME: batch})[0]
