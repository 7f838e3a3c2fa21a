"""Calls tritonclient as its users do: a call is a line of JSON on stdin, its outcome a line of JSON on stdout."""

import asyncio
import base64
import contextlib
import json
import queue
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import (
    InferenceServerException,
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

CONCURRENCY = 4

SYNC = {"http": tritonclient.http, "grpc": tritonclient.grpc}
ASYNC = {"http": tritonclient.http.aio, "grpc": tritonclient.grpc.aio}


def array_of(tensor: dict) -> np.ndarray:
    raw = base64.b64decode(tensor["raw"])
    if tensor["datatype"] == "BYTES":
        array = deserialize_bytes_tensor(raw) if raw else np.empty(0, np.object_)
    else:
        array = np.frombuffer(raw, triton_to_np_dtype(tensor["datatype"]))
    return array.reshape(tensor["shape"])


def raw_of(array: np.ndarray) -> bytes:
    if array.dtype != np.object_:
        return array.tobytes()
    return serialize_byte_tensor(array).item() if array.size > 0 else b""


def infer_arguments(transport: str, arguments: dict) -> dict:
    """The arguments of `infer`, with tritonclient's own objects for tensors."""
    module = SYNC[transport]
    inputs = []
    for tensor in arguments["inputs"]:
        wanted = module.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
        how = {"binary_data": tensor["binary"]} if transport == "http" else {}
        if "region" in tensor:
            wanted.set_shared_memory(tensor["region"], 4)
        else:
            wanted.set_data_from_numpy(array_of(tensor), **how)
        inputs.append(wanted)
    outputs = [
        module.InferRequestedOutput(
            output["name"],
            class_count=output.get("classes", 0),
            **({"binary_data": output["binary"]} if transport == "http" else {}),
        )
        for output in arguments.get("outputs", [])
    ]
    return {**arguments, "inputs": inputs, "outputs": outputs or None}


def answer_of(transport: str, result) -> dict:
    response = result.get_response(as_json=True) if transport == "grpc" else result.get_response()
    outputs = []
    for output in response.get("outputs", []):
        array = result.as_numpy(output["name"])
        outputs.append(
            {
                "name": output["name"],
                "datatype": output["datatype"],
                "dtype": np_to_triton_dtype(array.dtype),
                "shape": list(array.shape),
                "raw": base64.b64encode(raw_of(array)).decode(),
                "binary": transport == "grpc" or "data" not in output,
                "parameters": output.get("parameters", {}),
            }
        )
    head = {key: value for key, value in response.items() if key not in ("outputs", "raw_output_contents")}
    return {**head, "outputs": outputs}


class Driver:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clients = {}

    def client(self, transport: str, url: str):
        options = {"concurrency": CONCURRENCY} if transport == "http" else {}
        return self._kept(("sync", transport, url), lambda: SYNC[transport].InferenceServerClient(url, **options))

    def _kept(self, key, make):
        if key not in self.clients:
            self.clients[key] = make()
        return self.clients[key]

    def call(self, transport: str, style: str, url: str, method: str, arguments: dict):
        if style == "aio":
            return self.loop.run_until_complete(self.call_async(transport, url, method, arguments))
        client = self.client(transport, url)
        if method == "infer":
            return answer_of(transport, client.infer(**infer_arguments(transport, arguments)))
        if method == "async_infer":
            return self.infer_at_once(client, transport, arguments["requests"])
        if method == "cancelled_infer":
            return self.cancelled_infer(client, arguments)
        if method == "stream_infer":
            return self.stream_infer(client, arguments["requests"])
        return getattr(client, method)(**json_answers(transport, method, arguments))

    async def call_async(self, transport: str, url: str, method: str, arguments: dict):
        client = self._kept(("aio", transport, url), lambda: ASYNC[transport].InferenceServerClient(url))
        if method == "infer":
            return answer_of(transport, await client.infer(**infer_arguments(transport, arguments)))
        if method == "async_infer":
            requests = [client.infer(**infer_arguments(transport, one)) for one in arguments["requests"]]
            return [outcome_of(transport, one) for one in await asyncio.gather(*requests, return_exceptions=True)]
        return await getattr(client, method)(**json_answers(transport, method, arguments))

    def infer_at_once(self, client, transport: str, requests: list) -> list:
        """Sends all before it waits for any."""
        if transport == "http":
            handles = [client.async_infer(**infer_arguments(transport, one)) for one in requests]
            return [outcome_of(transport, caught(handle.get_result)) for handle in handles]
        answers = [queue.Queue() for _ in requests]
        for one, answer in zip(requests, answers):
            client.async_infer(
                callback=lambda result, error, answer=answer: answer.put(error or result),
                **infer_arguments(transport, one),
            )
        return [outcome_of(transport, answer.get(timeout=30)) for answer in answers]

    def cancelled_infer(self, client, arguments: dict) -> dict:
        answer = queue.Queue()
        call = client.async_infer(
            callback=lambda result, error: answer.put(error or result), **infer_arguments("grpc", arguments)
        )
        call.cancel()
        return outcome_of("grpc", answer.get(timeout=30))

    def stream_infer(self, client, requests: list) -> list:
        answers = queue.Queue()
        client.start_stream(callback=lambda result, error: answers.put(error or result))
        try:
            # What is wrong with the stream, the callback is told.
            with contextlib.suppress(InferenceServerException):
                for one in requests:
                    client.async_stream_infer(**infer_arguments("grpc", one))
            return [outcome_of("grpc", answers.get(timeout=30)) for _ in requests]
        finally:
            client.stop_stream()


def json_answers(transport: str, method: str, arguments: dict) -> dict:
    """gRPC's messages as the JSON that HTTP has anyway."""
    return {**arguments, "as_json": True} if transport == "grpc" and method.startswith("get_") else arguments


def caught(call):
    try:
        return call()
    except Exception as error:  # it is what the test asks for
        return error


def outcome_of(transport: str, result) -> dict:
    """What came of one request of many."""
    if isinstance(result, Exception):
        return {"error": error_of(result)}
    return {"value": answer_of(transport, result)}


def error_of(error: Exception) -> dict:
    if isinstance(error, InferenceServerException):
        return {"kind": "server", "message": error.message(), "status": error.status()}
    return {"kind": type(error).__name__, "message": str(error)}


def main() -> None:
    driver = Driver()
    for line in sys.stdin:
        try:
            outcome = {"value": driver.call(**json.loads(line))}
        except Exception as error:  # whatever it is, the test is told
            outcome = {"error": error_of(error)}
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
