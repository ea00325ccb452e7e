"""Writes the expected values of this directory with PyTorch, transformers, scikit-learn and torchmetrics.

    pip install torch transformers safetensors scikit-learn torchmetrics
    python tests/golden/generate.py

models/<family>-<task>/   config.json and model.safetensors as transformers saves them;
                          expected.json: inputs, logits, loss and AdamW loss curves; gradients.safetensors (float64).
tokenizer/                vocab.txt, expected.json: ids, segments and offsets of BertTokenizerFast.
metric/expected.json      accuracy, macro-F1, SQuAD exact match and F1.

Everything is computed in float64 on one thread from seeded random numbers, so a second run writes the same files up to
rounding of the libraries' versions.
"""

import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
)

import metric
import tokenizer

HERE = pathlib.Path(__file__).resolve().parent
HEADER = {"magic": "stepsynth-golden", "version": 1, "hint": "regenerate with: python tests/golden/generate.py"}
VOCABULARY, HIDDEN, HEADS, FEED_FORWARD, LAYERS, POSITIONS = 120, 16, 2, 32, 2, 40
CLS, SEP, FIRST_WORD = 2, 3, 5


def build(family, task):
    """A model in evaluation mode, float64, whose parameters are random float32 numbers far from the usual small ones."""
    if family == "distilbert":
        config = DistilBertConfig(
            vocab_size=VOCABULARY, dim=HIDDEN, n_heads=HEADS, hidden_dim=FEED_FORWARD, n_layers=LAYERS,
            max_position_embeddings=POSITIONS, num_labels=3,
        )
        kinds = {"classification": DistilBertForSequenceClassification, "qa": DistilBertForQuestionAnswering}
    else:
        config = BertConfig(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, num_attention_heads=HEADS, intermediate_size=FEED_FORWARD,
            num_hidden_layers=LAYERS, max_position_embeddings=POSITIONS, num_labels=3, type_vocab_size=2,
            hidden_act="gelu_new" if task == "qa" else "gelu",
        )
        kinds = {"classification": BertForSequenceClassification, "qa": BertForQuestionAnswering}
    if task == "qa":
        config.num_labels = 2
    config._attn_implementation = "eager"
    model = kinds[task](config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_gain = "norm" in name.lower() and name.endswith("weight")
            noise = torch.randn(parameter.shape) * (0.3 if parameter.dim() == 2 else 0.1)
            parameter.copy_(1 + noise if is_gain else noise)
    return model.eval()


def inputs(task):
    """Sequences of token ids and segments: of unequal lengths, but of one length for spans, where transformers' loss
    would count padding."""
    lengths = [9, 17, 5, 12] if task == "classification" else [14, 14, 14]
    rows = []
    for length in lengths:
        ids = torch.randint(FIRST_WORD, VOCABULARY, (length,)).tolist()
        first = length // 3
        ids[0], ids[first], ids[-1] = CLS, SEP, SEP
        rows.append({"ids": ids, "token_types": [int(position > first) for position in range(length)]})
    return rows


def batch_of(rows, family):
    longest = max(len(row["ids"]) for row in rows)
    pad = lambda values: values + [0] * (longest - len(values))
    batch = {
        "input_ids": torch.tensor([pad(row["ids"]) for row in rows]),
        "attention_mask": torch.tensor([pad([1] * len(row["ids"])) for row in rows]),
    }
    if family == "bert":
        batch["token_type_ids"] = torch.tensor([pad(row["token_types"]) for row in rows])
    return batch


def curve(model, batch, dtype):
    """Losses before each of ten AdamW steps on one batch, every parameter decayed."""
    model = model.to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def write_model(family, task, seed):
    torch.manual_seed(seed)
    directory = HERE / "models" / f"{family}-{task}"
    model = build(family, task)
    model.save_pretrained(directory)
    rows = inputs(task)
    batch = batch_of(rows, family)
    expected = {**HEADER, "inputs": rows}
    if task == "classification":
        expected["labels"] = [0, 2, 1, 2]
        batch["labels"] = torch.tensor(expected["labels"])
    else:
        expected["starts"], expected["ends"] = [6, 0, 9], [8, 0, 9]
        batch["start_positions"] = torch.tensor(expected["starts"])
        batch["end_positions"] = torch.tensor(expected["ends"])
    model = model.double()
    output = model(**batch)
    output.loss.backward()
    if task == "classification":
        expected["logits"] = output.logits.tolist()
    else:
        expected["logits"] = torch.stack([output.start_logits, output.end_logits], dim=-1).tolist()
    expected["loss"] = output.loss.item()
    gradients = {name: parameter.grad.clone().contiguous() for name, parameter in model.named_parameters()}
    # One entry: the order of several would change from run to run.
    save_file(gradients, directory / "gradients.safetensors", metadata={"header": json.dumps(HEADER)})
    expected["adamw"] = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}
    expected["curve_f64"] = curve(model, batch, torch.float64)
    reread = type(model).from_pretrained(directory, attn_implementation="eager").eval()
    expected["curve_f32"] = curve(reread, batch, torch.float32)
    write(directory / "expected.json", expected)


def write(path, expected):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(expected, ensure_ascii=False, indent=None) + "\n", encoding="utf-8")


def main():
    torch.set_num_threads(1)
    for folder in ["models", "tokenizer", "metric"]:
        shutil.rmtree(HERE / folder, ignore_errors=True)
    for seed, family in enumerate(["distilbert", "bert"]):
        for offset, task in enumerate(["classification", "qa"]):
            write_model(family, task, 10 * seed + offset)
    vocabulary, texts = tokenizer.expected()
    (HERE / "tokenizer").mkdir()
    (HERE / "tokenizer" / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    write(HERE / "tokenizer" / "expected.json", {**HEADER, **texts})
    write(HERE / "metric" / "expected.json", {**HEADER, **metric.expected()})


if __name__ == "__main__":
    main()
