#!/usr/bin/env python3
"""Fine-tunes one model with our trainer and with the plain PyTorch loop, seed by seed, and compares what they reach.

    fine_tune.py --stepsynth BINARY --model DIR --data DIR --out DIR [--tasks rte,sst2,squad,imdb] [--seeds 0,1,2,3,4] [--threads 2]
    fine_tune.py --out DIR --table              # only the table and fine_tune.csv of what is there already

For a seed both sides start from the same weights (our new head included) and see the same batches in the same order with
the same learning rates; only the dropout masks and the rounding differ. Both train in bf16 with f32 master weights and both
models are scored by `stepsynth eval` in f32 on rows that no choice was made on. A finished seed is a file OUT/TASK/SEED.json
and is not run again, so the work can be stopped, continued and shared among processes that are given different seeds.
"""

import argparse
import csv
import gzip
import json
import math
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Training file, rows of it, test file, rows of it (None: all), epochs, longest sequence, the metrics compared.
TASKS = {
    "rte": ("glue/rte_train.jsonl", None, "glue/rte_dev.jsonl", None, 3, 256, ["accuracy"]),
    "sst2": ("glue/sst2_train.jsonl", 6000, "glue/sst2_dev.jsonl", None, 3, 128, ["accuracy"]),
    "squad": ("squad/routerlens_dev.jsonl", None, "squad/xquad_en.jsonl", None, 2, 256, ["exact_match", "f1"]),
    "imdb": ("imdb/train.jsonl.gz", 6000, "imdb/test.jsonl.gz", 5000, 1, 128, ["accuracy"]),
}
HERE = Path(__file__).resolve().parent

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--stepsynth")
parser.add_argument("--model")
parser.add_argument("--data")
parser.add_argument("--out", required=True, type=Path)
parser.add_argument("--tasks", default=",".join(TASKS))
parser.add_argument("--seeds", default="0,1,2,3,4")
parser.add_argument("--threads", type=int, default=2, help="of PyTorch; ours uses the cores it may run on")
parser.add_argument("--table", action="store_true")
arguments = parser.parse_args()


def sample(source, rows, target):
    """Writes `rows` rows of a JSON lines file, drawn with a fixed seed, in the format that the task's own file has."""
    opened = gzip.open if source.suffix == ".gz" else open
    with opened(source, "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if line.strip()]
    if rows is not None:
        lines = random.Random(0).sample(lines, rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def run(*command):
    start = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stderr}")
    return done.stdout, time.perf_counter() - start


def one_seed(task, seed, result):
    train, train_rows, test, test_rows, epochs, length, metrics = TASKS[task]
    work = arguments.out / task / f"work-{seed}"
    rows, test_file = work / "train.jsonl", work / "test.jsonl"
    sample(Path(arguments.data) / train, train_rows, rows)
    sample(Path(arguments.data) / test, test_rows, test_file)
    common = ["--task", task, "--data", arguments.data, "--max-length", length]
    # A side that is done keeps its time beside its model, so that a stopped seed goes on with the other side.
    seconds = work / "ours.json"
    if not seconds.exists():
        for left in ["steps", "ours"]:
            shutil.rmtree(work / left, ignore_errors=True)
        _, taken = run(
            arguments.stepsynth, "train", *common, "--model", arguments.model, "--train", rows, "--select", "none",
            "--epochs", epochs, "--seed", seed, "--precision", "bf16", "--dump-steps", work / "steps", "--out", work / "ours",
        )  # fmt: skip
        seconds.write_text(json.dumps({"seconds": taken}))
    ours = json.loads(seconds.read_text())
    seconds = work / "theirs.json"
    if not seconds.exists():
        printed, _ = run(
            sys.executable, HERE / "torch_fine_tune.py", "--steps", work / "steps" / "steps.jsonl", "--model", work / "steps",
            "--out", work / "theirs", "--seed", seed, "--threads", arguments.threads, "--bf16",
        )  # fmt: skip
        seconds.write_text(printed)
    theirs = json.loads(seconds.read_text())
    row = {"task": task, "seed": seed, "ours_seconds": ours["seconds"], "theirs_seconds": theirs["seconds"]}
    for side in ["ours", "theirs"]:
        scores, _ = run(arguments.stepsynth, "eval", *common, "--model", work / side, "--file", test_file, "--json")
        scores = json.loads(scores)
        row |= {f"{side}_{metric}": scores["metrics"][metric] for metric in metrics} | {"n": scores["n"]}
    shutil.rmtree(work)
    result.write_text(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def table():
    rows = [json.loads(path.read_text()) for path in sorted(arguments.out.glob("*/*.json"))]
    found = []
    for task, settings in TASKS.items():
        for metric in settings[-1]:
            pairs = [(r[f"ours_{metric}"], r[f"theirs_{metric}"]) for r in rows if r["task"] == task]
            if len(pairs) < 2:
                continue
            ours, theirs = zip(*pairs)
            error = statistics.stdev(theirs) / math.sqrt(len(pairs))
            n = next(r["n"] for r in rows if r["task"] == task)
            of_task = [r for r in rows if r["task"] == task]
            found.append({
                "task": task, "metric": metric, "seeds": len(pairs), "test_rows": n,
                "ours_mean": statistics.mean(ours), "ours_std": statistics.stdev(ours),
                "pytorch_mean": statistics.mean(theirs), "pytorch_std": statistics.stdev(theirs),
                "pytorch_standard_error": error,
                "difference_in_standard_errors": (statistics.mean(ours) - statistics.mean(theirs)) / error if error else math.nan,
                "ours_seconds": statistics.mean(r["ours_seconds"] for r in of_task),
                "pytorch_seconds": statistics.mean(r["theirs_seconds"] for r in of_task),
            })  # fmt: skip
    if not found:
        sys.exit(f"{arguments.out} has no task with two finished seeds yet")
    with open(arguments.out / "fine_tune.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, found[0].keys())
        writer.writeheader()
        writer.writerows(found)
    print("| task | metric | seeds | ours, % | PyTorch, % | difference in PyTorch's standard errors |\n|---|---|---|---|---|---|")
    for row in found:
        print(
            f"| {row['task']} | {row['metric']} | {row['seeds']} | {100 * row['ours_mean']:.2f} ± {100 * row['ours_std']:.2f} "
            f"| {100 * row['pytorch_mean']:.2f} ± {100 * row['pytorch_std']:.2f} | {row['difference_in_standard_errors']:+.2f} |"
        )


if not arguments.table:
    for name in ["stepsynth", "model", "data"]:
        if getattr(arguments, name) is None:
            parser.error(f"--{name} is missing (--table alone prints what is there)")
    for task in arguments.tasks.split(","):
        if task not in TASKS:
            parser.error(f"--tasks: {task} is none of {', '.join(TASKS)}")
    for task in arguments.tasks.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            result = arguments.out / task / f"{seed}.json"
            if not result.exists():
                one_seed(task, seed, result)
table()
