"""
FastAPI with onnxruntime: a plain `def` endpoint, which FastAPI runs in its thread pool, and declared models of the body
and the answer, as its documentation has it. onnxruntime lets go of the interpreter's lock while it runs. There is a
worker process for each core, which answers more than twice as much as a single one where handling dominates; so a run
has one thread.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, create_model

import bench_model

Value = {"float32": list[float], "int64": list[int], "string": str}[bench_model.KIND]
if bench_model.NESTED:
    Value = list[list[list[float]]]
Input: Any = create_model("Input", **{bench_model.NAME: (Value, ...)})


class Answer(BaseModel):
    prediction: list[float]


app = FastAPI()
session = bench_model.open_session(threads=1)


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/predict")
def predict(body: Input) -> Answer:
    batch = bench_model.array_of([getattr(body, bench_model.NAME)])
    return Answer(prediction=bench_model.run(session, batch)[0].tolist())
