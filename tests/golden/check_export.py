"""Opens exported model directories with transformers and compares.

    STEPSYNTH_EXPORT=DIR cargo test -p stepsynth-tests export
    python tests/golden/check_export.py DIR

Each folder of DIR is a model directory with an expected.json: texts, the ids and the logits that stepsynth computes from them.
AutoTokenizer must give the same ids, AutoModelFor... the same logits up to 1e-4 in float32.
"""

import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

LIMIT = 1e-4


def check(directory):
    """The largest difference of the logits; raises where something else differs."""
    expected = json.loads((directory / "expected.json").read_text(encoding="utf-8"))
    kind = AutoModelForQuestionAnswering if expected["labels"] is None else AutoModelForSequenceClassification
    model, loading = kind.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    assert not any(loading.values()), f"{directory}: {loading}"
    if expected["labels"] is not None:
        assert model.config.id2label == dict(enumerate(expected["labels"])), model.config.id2label
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert type(tokenizer).__name__ == f"{expected['family']}Tokenizer", type(tokenizer)
    assert tokenizer.model_max_length == model.config.max_position_embeddings
    slow_path = AutoTokenizer.from_pretrained(directory, tokenizer_file=None)
    worst = 0.0
    for row in expected["rows"]:
        for reader in [tokenizer, slow_path]:
            encoding = reader(row["text"], row["text_pair"], truncation=True, return_token_type_ids=True)
            assert encoding["input_ids"] == row["ids"], f"{directory}: {row['text']!r}: {encoding['input_ids']} {row['ids']}"
            assert encoding["token_type_ids"] == row["token_types"], f"{directory}: {row['text']!r}"
        with torch.no_grad():
            # As a user calls it: only what the tokeniser gives by itself.
            output = model.eval()(**tokenizer(row["text"], row["text_pair"], truncation=True, return_tensors="pt"))
        logits = output.logits[0] if expected["labels"] else torch.stack([output.start_logits[0], output.end_logits[0]], -1)
        difference = (logits.flatten() - torch.tensor(row["logits"])).abs().max().item()
        worst = max(worst, difference if difference == difference else float("inf"))
    return worst


def main(folder):
    differences = {directory.name: check(directory) for directory in sorted(pathlib.Path(folder).iterdir())}
    for name, difference in differences.items():
        print(f"{name:40} largest difference of logits {difference:.2e}")
    assert differences and max(differences.values()) <= LIMIT, f"a difference is above {LIMIT}"


if __name__ == "__main__":
    main(*sys.argv[1:])
