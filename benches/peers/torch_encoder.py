#!/usr/bin/env python3
"""Times PyTorch and transformers on the work that encoder-speed does; prints one JSON line.

    torch_encoder.py --variant bf16-sorted --model distilbert --lengths lengths/rte.txt --mode train

Same lengths, batch size and order as encoder-speed. Weights and token ids are random: speed does not depend on them.
Tokens counted are real tokens, never padding. Variants, as people use PyTorch:

    fp32-pad512   every row padded to 512, as the released scripts of the paper do
    fp32-pad      padded to the longest row of the batch
    fp32-sorted   the same, rows sorted by length before they are cut into batches
    bf16-pad      fp32-pad under bf16 autocast
    bf16-sorted   fp32-sorted under bf16 autocast
    bf16-compile  bf16-sorted with torch.compile
"""

import argparse
import json
import os
import resource
import statistics
import time

import torch
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification

parser = argparse.ArgumentParser()
VARIANTS = ["fp32-pad512", "fp32-pad", "fp32-sorted", "bf16-pad", "bf16-sorted", "bf16-compile"]
parser.add_argument("--variant", required=True, choices=VARIANTS)
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--model", default="distilbert", choices=["distilbert", "minilm-l6"])
parser.add_argument("--lengths", required=True)
parser.add_argument("--mode", default="train", choices=["train", "infer"])
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--batches", type=int, default=4)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()

cuda = arguments.device == "cuda"
torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
if cuda:
    # TF32 in matrix products, as fast as PyTorch does fp32 there.
    torch.set_float32_matmul_precision("high")
with open(arguments.lengths) as file:
    lengths = [int(line) for line in file][: arguments.batch * arguments.batches]
if arguments.variant.endswith(("sorted", "compile")):
    lengths = sorted(lengths)

batches = []
for start in range(0, len(lengths), arguments.batch):
    rows = lengths[start : start + arguments.batch]
    width = 512 if arguments.variant == "fp32-pad512" else max(rows)
    ids = torch.randint(1000, 30000, (len(rows), width))
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for row, length in enumerate(rows):
        mask[row, :length] = 1
        ids[row, length:] = 0
    batches.append(tuple(tensor.to(arguments.device) for tensor in (ids, mask, torch.arange(len(rows)) % 2)))

if arguments.model == "distilbert":
    model = DistilBertForSequenceClassification(DistilBertConfig())
else:
    shape = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    model = BertForSequenceClassification(BertConfig(**shape))
train = arguments.mode == "train"
model.to(arguments.device).train(train)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=cuda) if train else None
if arguments.variant.endswith("compile"):
    model = torch.compile(model, dynamic=True)
bf16 = arguments.variant.startswith("bf16")


def step(ids, mask, labels):
    with torch.autocast(arguments.device, dtype=torch.bfloat16, enabled=bf16):
        if not train:
            with torch.inference_mode():
                return model(input_ids=ids, attention_mask=mask)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def one_pass():
    start = time.perf_counter()
    for batch in batches:
        step(*batch)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


one_pass()
if cuda:
    # The first pass compiles and tunes, the second settles the caches.
    one_pass()
seconds = statistics.median(one_pass() for _ in range(max(arguments.repeats, 1)))
tokens = sum(lengths)
print(
    json.dumps(
        dict(
            side="torch " + torch.__version__,
            variant=arguments.variant,
            device=arguments.device,
            model=arguments.model,
            lengths=os.path.splitext(os.path.basename(arguments.lengths))[0],
            mode=arguments.mode,
            batch=arguments.batch,
            threads=arguments.threads,
            rows=len(lengths),
            tokens=tokens,
            seconds=seconds,
            tokens_per_s=tokens / seconds,
            peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        )
    )
)
