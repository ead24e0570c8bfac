#!/usr/bin/env python3
"""Full fine-tuning beside PyTorch in every family: the same linears, the same rows, AdamW, number for number.

    check_full.py --tabtune target/debug/tabtune --base www/public/base \\
        --data www/public/samples/captain.txt --out artefacts/full --device cpu

transformers then loads what was written.
"""

import argparse
import json
import os
import shutil

import torch
from transformers.pytorch_utils import Conv1D

from check_adapter import Checks
from check_run import BATCH, CHARACTERS, FAMILIES, HOLDOUT, SEQ_LEN, WARMUP, relative, small_model, tabtune
from recipe import held_out_rows, ids_of, learning_rate, load_base, mean_loss, optimizer_of, rows_of, train_step

STEPS, RATE = 10, 2e-3


def linears_of(model):
    """Every linear of every block is trained; embedding, norms, biases and head are not."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    head = model.get_output_embeddings()
    chosen = {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
    }
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    return chosen


def compare(checks, family, options, text):
    """Trains a small model of the family on both sides."""
    small, kept, log = (os.path.join(options.out, f"{family}{end}") for end in ("", "-kept", ".jsonl"))
    small_model(small, options.base, family)
    inputs, targets = rows_of(ids_of(small, text), SEQ_LEN)
    count = len(inputs) - held_out_rows(len(inputs), HOLDOUT)
    model = load_base(small)
    trained = linears_of(model)
    begun = {name: parameter.detach().clone() for name, parameter in trained.items()}
    optimizer = optimizer_of(trained.values(), weight_decay=0.01)
    before = mean_loss(model, inputs[count:], targets[count:], BATCH)
    taken = []
    for step in range(1, STEPS + 1):
        rows = slice((step - 1) * BATCH, step * BATCH)
        taken.append(
            train_step(
                model, optimizer, learning_rate(RATE, step, STEPS, WARMUP), inputs[:count][rows], targets[:count][rows]
            )
        )
    after = mean_loss(model, inputs[count:], targets[count:], BATCH)

    flags = {
        "device": options.device,
        "method": "full",
        "model": small,
        "weights": "f32",
        "data": text,
        "out": kept,
        "log": log,
        "steps": STEPS,
        "batch": BATCH,
        "seq-len": SEQ_LEN,
        "lr": RATE,
        "warmup": WARMUP,
        "weight-decay": 0.01,
        "holdout": HOLDOUT,
        "eval-every": STEPS,
    }
    written = [part for name, value in flags.items() for part in (f"--{name}", value)]
    tabtune(options.tabtune, "train", "--no-shuffle", *written)
    with open(log, encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    steps = [(event["loss"], event["gradNorm"]) for event in events if event["type"] == "step"]
    held_out = [event["loss"] for event in events if event["type"] == "eval"]
    add = lambda name, held, detail: checks.add(f"{family}: {name}", held, detail)
    add("as many steps", len(steps) == STEPS, f"{len(steps)} of {STEPS}")
    for index, name, allowed in ((0, "losses of the steps", 1e-4), (1, "gradient norms", 1e-4)):
        far = max(relative(found[index], expected[index]) for found, expected in zip(steps, taken))
        add(name, far <= allowed, f"furthest {far:.1e}, relative")
    for name, found, expected in (("before", held_out[0], before), ("after", held_out[-1], after)):
        add(
            f"held-out loss {name}",
            relative(found, expected) <= 1e-4,
            f"PyTorch {expected:.6f}, the engine {found:.6f}",
        )
    add("training changes the held-out loss", abs(after - before) > 0.01, f"{before:.4f} to {after:.4f}")
    # In PyTorch it rises for the small SmolLM3.
    if family != "smollm3":
        add("the held-out loss falls", after < before, f"{before:.4f} to {after:.4f}")

    loaded = load_base(kept)
    again = dict(loaded.named_parameters())
    change = lambda now: torch.cat([(now[name].detach() - begun[name]).flatten() for name in sorted(begun)])
    far = ((change(again) - change(trained)).norm() / change(trained).norm()).item()
    add("what training changed in the matrices", far <= 1e-3, f"relative difference {far:.1e}")
    frozen = [
        name
        for name, parameter in model.named_parameters()
        if name not in begun and not torch.equal(parameter, again[name])
    ]
    add("embedding, norms, biases and head are as they were", not frozen, ", ".join(frozen))
    loss = mean_loss(loaded, inputs[count:], targets[count:], BATCH)
    add(
        "transformers computes the held-out loss of what was written",
        relative(loss, held_out[-1]) <= 1e-5,
        f"{loss:.6f}, the engine {held_out[-1]:.6f}",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tabtune", "base", "data", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--device", required=True, choices=["gpu", "cpu"], help="what computes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(options.out, ignore_errors=True)
    os.makedirs(options.out)
    text = os.path.join(options.out, "text.txt")
    with (
        open(options.data, encoding="utf-8", newline="") as file,
        open(text, "w", encoding="utf-8", newline="") as part,
    ):
        part.write(file.read(CHARACTERS))
    checks = Checks()
    for family in FAMILIES:
        compare(checks, family, options, text)
    checks.close()


if __name__ == "__main__":
    main()
