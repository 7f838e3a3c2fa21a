"""MLServer with a custom runtime, as its documentation writes one; the settings of adaptive batching are the model's."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

import bench_model


class OnnxModel(MLModel):
    async def load(self) -> bool:
        self.session = bench_model.open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        codec = StringCodec if bench_model.KIND == "string" else NumpyCodec
        batch = bench_model.array_of(codec.decode_input(payload.inputs[0]))
        output = bench_model.run(self.session, batch)
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(name=bench_model.OUTPUT, payload=output)],
        )
