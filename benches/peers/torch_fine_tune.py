#!/usr/bin/env python3
"""The plain PyTorch loop that our fine-tuning is compared with: same initial weights, same batches in the same order, same
learning rates, clipping and AdamW; dropout on.

    torch_fine_tune.py --steps STEPS.jsonl --model INITIAL_MODEL --out TRAINED_MODEL --seed 0 [--bf16]

INITIAL_MODEL is the folder that `stepsynth train --dump-steps DIR` writes and STEPS.jsonl lies in it: one step a line,
{"learning_rate", "rows": [{"ids", "token_types", "label"} or {"ids", "token_types", "start", "end"}]}.
Rows of a step are padded in groups of similar length whose gradients are summed, which changes nothing but the time taken.
The model of the last step is saved; `stepsynth eval --model TRAINED_MODEL` scores it.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

parser = argparse.ArgumentParser()
parser.add_argument("--steps", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--group", type=int, default=4, help="rows padded together")
parser.add_argument("--weight-decay", type=float, default=0.0)
parser.add_argument("--bf16", action="store_true", help="train under bf16 autocast")
arguments = parser.parse_args()

torch.set_num_threads(arguments.threads)
torch.manual_seed(arguments.seed)
architecture = json.loads((Path(arguments.model) / "config.json").read_text())["architectures"][0]
question_answering = architecture.endswith("QuestionAnswering")
kind = AutoModelForQuestionAnswering if question_answering else AutoModelForSequenceClassification
model = kind.from_pretrained(arguments.model)
model.train()

no_decay = lambda name: name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name
groups = [
    {"params": [p for n, p in model.named_parameters() if not no_decay(n)], "weight_decay": arguments.weight_decay},
    {"params": [p for n, p in model.named_parameters() if no_decay(n)], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)


def padded(rows, field):
    width = max(len(row["ids"]) for row in rows)
    return torch.tensor([row[field] + [0] * (width - len(row[field])) for row in rows])


def loss_of(rows):
    inputs = {"input_ids": padded(rows, "ids")}
    inputs["attention_mask"] = torch.tensor(
        [[1] * len(row["ids"]) + [0] * (inputs["input_ids"].shape[1] - len(row["ids"])) for row in rows]
    )
    if model.config.model_type == "bert":
        inputs["token_type_ids"] = padded(rows, "token_types")
    if question_answering:
        inputs["start_positions"] = torch.tensor([row["start"] for row in rows])
        inputs["end_positions"] = torch.tensor([row["end"] for row in rows])
    else:
        inputs["labels"] = torch.tensor([row["label"] for row in rows])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.bf16):
        return model(**inputs).loss


with open(arguments.steps) as file:
    steps = [json.loads(line) for line in file]
start, losses = time.perf_counter(), []
for number, step in enumerate(steps, 1):
    rows = sorted(step["rows"], key=lambda row: len(row["ids"]))
    total = 0.0
    for first in range(0, len(rows), arguments.group):
        part = rows[first : first + arguments.group]
        loss = loss_of(part) * (len(part) / len(rows))
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = step["learning_rate"]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    losses.append(total)
    if number % 20 == 0 or number == len(steps):
        recent = sum(losses[-20:]) / len(losses[-20:])
        print(f"step {number}/{len(steps)} loss {recent:.4f}, {time.perf_counter() - start:.0f} s", file=sys.stderr)

out = Path(arguments.out)
model.save_pretrained(out, safe_serialization=True)
for name in ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"]:
    if (Path(arguments.model) / name).is_file():
        shutil.copy(Path(arguments.model) / name, out / name)
print(json.dumps({"seconds": time.perf_counter() - start, "steps": len(steps), "last_loss": losses[-1]}))
