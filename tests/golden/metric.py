"""Metric part of generate.py: scikit-learn for classes, torchmetrics (SQuAD 1.1's official rules) for answers."""

import random
import warnings

from sklearn.metrics import accuracy_score, f1_score
from torchmetrics.functional.text import squad

ANSWERS = [
    ("Paris", ["Paris"]),
    ("the city of Paris", ["Paris", "city of  paris."]),
    ("a cat", ["the cat"]),
    ("", ["Paris"]),
    ("the", ["an", "a"]),
    ("U.S.A.", ["USA", "United States of America"]),
    ("red red blue", ["red blue blue", "red"]),
    ("theatre an-other", ["another theatre"]),
    ("The—cat’s the_end", ["cat s end", "—cat’s theend"]),
    ("Ça va Été", ["ça va été"]),
    ("ΣΑΣ", ["σας"]),
    ("one\u00a0two\u2003three\x1cfour", ["one two three four"]),
    ("1,000 dollars", ["1000 dollar", "$1,000"]),
    ("in the year 1991", ["1991", "year of 1991", "In the year, 1991!"]),
    ("中国 a 北京", ["中国 北京"]),
]


def expected():
    generator = random.Random(3)
    labels = [([0, 1, 2, 0], [0, 1, 2, 0]), ([0, 0, 0], [1, 1, 1]), ([0, 0, 3], [0, 0, 0]), ([1], [1]), ([0, 0, 1], [2, 0, 1])]
    for classes, count in [(2, 50), (4, 80), (7, 30)]:
        truth = [generator.randrange(classes) for _ in range(count)]
        guess = [label if generator.random() < 0.6 else generator.randrange(classes) for label in truth]
        labels.append((truth, guess))
    classification = []
    for truth, guess in labels:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            macro = f1_score(truth, guess, average="macro", zero_division=0)
        classification.append({"truth": truth, "predicted": guess, "accuracy": accuracy_score(truth, guess), "macro_f1": macro})
    answers = []
    for prediction, accepted in ANSWERS:
        scores = squad(
            [{"prediction_text": prediction, "id": "0"}],
            [{"answers": {"text": accepted, "answer_start": [0] * len(accepted)}, "id": "0"}],
        )
        answers.append({"prediction": prediction, "accepted": accepted, "exact_match": scores["exact_match"].item() / 100,
                        "f1": scores["f1"].item() / 100})
    return {"classification": classification, "answers": answers}
