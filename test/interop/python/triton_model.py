"""The models that Triton serves in the tests: what each answers, it is named for."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


def identity(x):
    return {"y": x}


def pair(a, b):
    return {"sum": (a.sum(axis=1, keepdims=True) + b).astype(np.float32), "next": b + 1}


def slow(x):
    time.sleep(1)
    return {"y": x}


class TritonPythonModel:
    def initialize(self, args):
        self.answer = globals()[args["model_name"].split("_")[0]]

    def execute(self, requests):
        return [pb_utils.InferenceResponse(self.respond(request)) for request in requests]

    def respond(self, request):
        inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        wanted = request.requested_output_names()
        outputs = self.answer(**inputs).items()
        return [pb_utils.Tensor(name, value) for name, value in outputs if name in wanted]
