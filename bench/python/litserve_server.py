"""
LitServe with its batching on, after its documentation: `max_batch_size` and `batch_timeout` of the LitAPI. It has one
worker, its default: two answered no more.
"""

import sys

import litserve

import bench_model


class OnnxAPI(litserve.LitAPI):
    def setup(self, device):
        self.session = bench_model.open_session()

    def decode_request(self, request):
        return request[bench_model.NAME]

    def batch(self, inputs):
        return bench_model.array_of(inputs)

    def predict(self, batch):
        return bench_model.run(self.session, batch)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"prediction": output.tolist()}


if __name__ == "__main__":
    api = OnnxAPI(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
