"""Writes golden.jsonl beside each version of the sentiment model: what the shipped file answers.

    python golden.py

Right or wrong, the answers are those of the file: the cases check serving, not the model.
"""

import json

import numpy as np

from text_graph import session
from train import CLASSES, OUTPUT, VERSIONS

INVENTED = [
    "I love this phone, the screen is gorgeous!",
    "This is the worst coffee I have ever had.",
    "Not bad at all.",
    "I don't like it.",
    "I don’t like it.",  # a typographic apostrophe
    "I can't recommend this hotel enough.",
    "The food wasn't good, but the waiter was lovely.",
    "NEVER AGAIN!!!",
    "Best. Day. Ever. :D",
    "my train is late again :(",
    "lol <3 <3 thank you so much",
    "The package arrived on Tuesday.",
    "Could be better, could be worse",
    "What a beautiful, beautiful mess of a film.",
    "😀😀😀",
    "great concert tonight 🎉👏",
    "so tired of this 😡",
    "",
    "   \n\t ",
    "C'est un film magnifique, je l'adore.",
    "Это ужасно.",
    "这部电影很好看。",
    "هذا رائع",
    "line one was fun\nline two was boring\nline three was fine",
    "5 stars, 10/10, would buy again",
    "https://example.com/?q=awful&sort=best",
    "excellent " * 500,  # only the first 1,000 characters are read
    "We waited an hour for a table. " * 32 + "Then everything was perfect, wonderful, amazing!",
]
HELD_OUT = [
    "Installed iBooks today on my phone and I was surprised to find so many good books for free :)",  # tweet
    "have I mentioned lately how tired I am of coughing fits? yeesh :(",
    "It's an unusual, thoughtful bio drama with a rich subject and some fantastic moments and scenes.",  # movie
    "The script was reportedly rewritten a dozen times either 11 times too many or else too few.",
    "i cannot recommend it enough!",  # amazon
    "if the casing of the player is this bad, i can't image that the hardware is of very good quality.",
    "itunes is a versatile program and i haven't had any issues with the ipod itself.",
    "To its credit, the New York Legislature is determined to keep them in check.",  # nyt
    "Yet its dilapidated courthouses hardly inspire confidence.",
    "Most important, simply growing up would no longer bar a woman from competing in a wonderful sport.",
]
TOLERANCE = 0.0001


def probabilities(run, texts):
    return run(["probabilities"], {"text": np.array(texts, dtype=object)})[0]


def golden_cases(path, texts):
    run = session(path).run
    together = probabilities(run, texts)
    for text, in_batch in zip(texts, together):
        row = probabilities(run, [text])[0]
        assert np.abs(row - in_batch).max() < 1e-6, f"the batch changes {text[:40]!r}"
        assert abs(row[0] - 0.5) > 2 * TOLERANCE, f"too close to call: {text[:40]!r}"
        expected = {"prediction": CLASSES[row.argmax()], "confidence": round(float(row.max()), 6)}
        yield {"input": {"text": text}, "expected": expected, "tolerance": TOLERANCE}


def main():
    for version in VERSIONS:
        folder = OUTPUT / version
        cases = golden_cases(folder / "model.onnx", INVENTED + HELD_OUT)
        lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
        (folder / "golden.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
