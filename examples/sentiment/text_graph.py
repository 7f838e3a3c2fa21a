"""The ONNX side of the sentiment models: text to tokens to n-grams to probabilities.

Training tokenizes with the same nodes that are shipped, so the two can't differ.
Only operators of the standard onnxruntime build are used (no onnxruntime-extensions), and
StringNormalizer is held to the locale "C": its default, en_US.UTF-8, is missing from slim
containers. "C" lowercases A-Z only, so vocabularies are kept to ASCII.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

# Rows never come out empty: each text begins with this token, which also marks its start.
START = "\x02"
# Reads the first 1000 characters; longer texts would pad a whole batch to their length.
HEAD = r"(?s)^.{1,1000}"
TOKENS = {
    # Emoticons, hearts, words and numbers (apostrophes split), runs of ! ? . and other signs.
    "words": r"[:;=]['^-]?[()/|\\*dp\]\[]+|<3+|[\p{L}\p{N}_]+|[!?.]+|[^\s\p{L}\p{N}_'’]",
    # Every character but apostrophes, so that don't and don’t are the same here too.
    "characters": r"[^'’]",
}


class Graph:
    """Collects nodes and constants of a graph that begins at the input `text`."""

    def __init__(self):
        self.nodes, self.constants = [], []
        start = self.constant("start", np.array(f"{START} ", dtype=object))
        self.node("StringConcat", [start, "text"], "started")
        self.tokenizer("started", "heads", HEAD)
        self.node("Gather", ["heads", self.constant("first", np.array(0))], "head", axis=1)
        self.node("StringNormalizer", ["head"], "lowered", case_change_action="LOWER",
                  is_case_sensitive=1, locale="C")

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def tokenizer(self, source, output, expression):
        return self.node("Tokenizer", [source], output, domain="com.microsoft", mark=0,
                         mincharnum=1, pad_value="", tokenexp=expression)

    def tokens(self, kind):
        """Tokens [N, T] of the lowered texts; short rows are padded with empty strings."""
        return self.tokenizer("lowered", kind, TOKENS[kind])

    def presence(self, kind, ngrams):
        """Ones and zeros [N, F]: which of the n-grams (tuples, shortest first) a text has."""
        longest = len(ngrams[-1])
        starts = [sum(len(n) < length for n in ngrams) for length in range(1, longest + 1)]
        # Offsets count strings in the pool, not n-grams.
        offsets = [sum(len(n) for n in ngrams[:start]) for start in starts]
        counts = self.node(
            "TfIdfVectorizer", [kind], f"{kind}_counts", mode="TF", max_skip_count=0,
            min_gram_length=len(ngrams[0]), max_gram_length=longest, ngram_counts=offsets,
            ngram_indexes=list(range(len(ngrams))),
            pool_strings=[token for ngram in ngrams for token in ngram])
        return self.node("Sign", [counts], f"{kind}_presence")

    def model(self, outputs):
        graph = helper.make_graph(
            self.nodes, "sentiment",
            [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])],
            outputs, self.constants)
        model = helper.make_model(
            graph, producer_name="mlserving-examples", ir_version=9,
            opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)])
        return model


def tokenize(kind, texts):
    """The tokens of each text, from the nodes that are shipped."""
    graph = Graph()
    tokens = graph.tokens(kind)
    model = graph.model([helper.make_tensor_value_info(tokens, TensorProto.STRING, None)])
    run = session(model.SerializeToString()).run
    rows = (run(None, {"text": np.array([text], dtype=object)})[0][0] for text in texts)
    return [[token for token in row if token] for row in rows]


def build_model(blocks, weights, squares, bias, classes):
    """A finished model: presence of n-grams, a linear layer, probabilities.

    `blocks` is a list of (kind, ngrams); their features are joined in that order. The score is
    `presence @ weights`, divided by `sqrt(presence @ squares)` where `squares` is given.
    """
    graph = Graph()
    parts = []
    for kind, ngrams in blocks:
        graph.tokens(kind)
        parts.append(graph.presence(kind, ngrams))
    features = graph.node("Concat", parts, "features", axis=1) if len(parts) > 1 else parts[0]

    columns = weights[:, None] if squares is None else np.stack([weights, squares], 1)
    matrix = graph.constant("weights", columns.astype(np.float32))
    product = graph.node("MatMul", [features, matrix], "product")
    if squares is not None:
        halves = ["sum", "square"]
        graph.nodes.append(helper.make_node("Split", [product], halves, axis=1, num_outputs=2))
        least = graph.constant("least", np.array(1e-6, np.float32))
        length = graph.node("Sqrt", [graph.node("Max", ["square", least], "some")], "length")
        product = graph.node("Div", ["sum", length], "score")
    shift = graph.constant("bias", np.array([bias], np.float32))
    logit = graph.node("Add", [product, shift], "logit")
    positive = graph.node("Sigmoid", [logit], "positive")
    negative = graph.node("Sigmoid", [graph.node("Neg", [logit], "negated")], "negative")
    graph.node("Concat", [negative, positive], "probabilities", axis=1)
    best = graph.node("ArgMax", ["probabilities"], "best", axis=1, keepdims=0)
    names = graph.constant("classes", np.array(classes, dtype=object))
    graph.node("Gather", [names, best], "label")

    model = graph.model([
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(classes)]),
        helper.make_tensor_value_info("label", TensorProto.STRING, ["batch"]),
    ])
    onnx.checker.check_model(model)
    return model.SerializeToString()


def session(model):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
