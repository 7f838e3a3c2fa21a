"""
BentoML with adaptive batching, after its documentation: a `batchable` API takes a batch, and those of several callers
are joined. So a body holds a batch of one row. The latency up to which it joins is left at its default: below, it
refuses requests for models that take long. Its log of every request is off, and it has one worker, its default: two
answered no more.
"""

from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import DType

import bench_model

Batch: Any = list[str]
if bench_model.KIND != "string":
    Batch = Annotated[np.ndarray, DType(bench_model.KIND)]


@bentoml.service(traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class OnnxModel:
    def __init__(self) -> None:
        self.session = bench_model.open_session()

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=64)
    def predict(self, batch: Batch) -> np.ndarray:
        return bench_model.run(self.session, bench_model.array_of(batch))
