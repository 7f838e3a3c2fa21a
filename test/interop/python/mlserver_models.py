"""The models that MLServer serves in the tests, as its documentation writes custom ones."""

import asyncio

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import MLServerError
from mlserver.types import InferenceRequest, InferenceResponse


def decoded(request_input):
    codec = StringCodec if request_input.datatype == "BYTES" else NumpyCodec
    return codec.decode_input(request_input)


class Answering(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        arrays = {request_input.name: decoded(request_input) for request_input in payload.inputs}
        wanted = [output.name for output in payload.outputs or []]
        outputs = []
        for name, value in (await self.answer(**arrays)).items():
            if wanted and name not in wanted:
                continue
            codec = NumpyCodec if isinstance(value, np.ndarray) else StringCodec
            outputs.append(codec.encode_output(name=name, payload=value))
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs
        )


class Identity(Answering):
    async def answer(self, x):
        return {"y": x}


class Pair(Answering):
    async def answer(self, a, b):
        return {"sum": (a.sum(axis=1, keepdims=True) + b).astype(np.float32), "next": b + 1}


class Slow(Answering):
    async def answer(self, x):
        await asyncio.sleep(1)
        return {"y": x}


class Failing(Answering):
    async def answer(self, x):
        raise MLServerError("the model is out of order", 503)
