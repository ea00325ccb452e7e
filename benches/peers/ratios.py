#!/usr/bin/env python3
"""Turns the JSON lines of one run into a CSV and prints how many times faster we are.

    ratios.py LINES.jsonl OUT.csv
"""

import csv
import json
import os
import sys

lines, out = sys.argv[1:]
with open(lines) as file:
    runs = [json.loads(line) for line in file]

# Name, our variants (None: the best), theirs.
COMPARISONS = [
    ("best against best", None, ["fp32-pad", "fp32-sorted", "bf16-pad", "bf16-sorted", "bf16-compile"]),
    ("f32 against its best f32", ["cpu", "cuda"], ["fp32-pad", "fp32-sorted"]),
    ("best against bf16-pad", None, ["bf16-pad"]),
    ("best against fp32-pad512", None, ["fp32-pad512"]),
]

with open(out + ".part", "w", newline="") as file:
    writer = csv.DictWriter(file, fieldnames=list(runs[0]))
    writer.writeheader()
    writer.writerows(runs)
os.replace(out + ".part", out)


def fastest(candidates):
    return max(candidates, key=lambda run: run["tokens_per_s"])


print("| model | lengths | mode | comparison | ours, tokens/s | PyTorch, tokens/s | ratio |\n|---|---|---|---|---|---|---|")
work = list(dict.fromkeys((run["model"], run["lengths"], run["mode"]) for run in runs))
for model, lengths, mode in work:
    these = [run for run in runs if (run["model"], run["lengths"], run["mode"]) == (model, lengths, mode)]
    ours = [run for run in these if run["side"] == "stepsynth"]
    for name, mine, theirs in COMPARISONS:
        us = fastest([run for run in ours if mine is None or run["variant"] in mine])
        them = fastest([run for run in these if run["variant"] in theirs])
        cells = [model, lengths, mode, name, f"{us['tokens_per_s']:.0f} ({us['variant']})"]
        cells += [f"{them['tokens_per_s']:.0f} ({them['variant']})", f"{us['tokens_per_s'] / them['tokens_per_s']:.2f}"]
        print("| " + " | ".join(cells) + " |")
    if mode == "train":
        us, them = max(run["peak_rss_mb"] for run in ours), min(run["peak_rss_mb"] for run in these if run not in ours)
        print(f"| {model} | {lengths} | {mode} | peak memory, MB | {us:.0f} | {them:.0f} | {us / them:.2f} |")
