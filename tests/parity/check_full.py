#!/usr/bin/env python3
"""Full fine-tuning beside PyTorch: the same linears, the same rows, AdamW, number for number.

    check_full.py --tabtune target/debug/tabtune --base www/public/base \\
        --data www/public/samples/captain.txt --out artefacts/full

transformers then loads what was written.
"""

import argparse
import json
import os
import shutil

import torch

from check_adapter import Checks
from check_run import BATCH, CHARACTERS, HOLDOUT, SEQ_LEN, WARMUP, relative, small_model, tabtune
from recipe import held_out_rows, ids_of, learning_rate, load_base, mean_loss, optimizer_of, rows_of, train_step

STEPS, RATE = 10, 2e-3


def linears_of(model):
    """Every linear of every block is trained; embedding, norms and head are not."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = {name: parameter for name, parameter in model.named_parameters() if name.endswith("_proj.weight")}
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tabtune", "base", "data", "out"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(options.out, ignore_errors=True)
    os.makedirs(options.out)
    text, small, kept, log = (os.path.join(options.out, name) for name in ("text.txt", "model", "kept", "run.jsonl"))
    with (
        open(options.data, encoding="utf-8", newline="") as file,
        open(text, "w", encoding="utf-8", newline="") as part,
    ):
        part.write(file.read(CHARACTERS))
    small_model(small, options.base, "llama")

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

    tabtune(
        options.tabtune,
        "train",
        "--device",
        "gpu",
        "--method",
        "full",
        "--model",
        small,
        "--weights",
        "f32",
        "--data",
        text,
        "--out",
        kept,
        "--log",
        log,
        "--no-shuffle",
        "--steps",
        STEPS,
        "--batch",
        BATCH,
        "--seq-len",
        SEQ_LEN,
        "--lr",
        RATE,
        "--warmup",
        WARMUP,
        "--weight-decay",
        0.01,
        "--holdout",
        HOLDOUT,
        "--eval-every",
        STEPS,
    )
    with open(log, encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    steps = [(event["loss"], event["gradNorm"]) for event in events if event["type"] == "step"]
    held_out = [event["loss"] for event in events if event["type"] == "eval"]
    checks = Checks()
    checks.add("as many steps", len(steps) == STEPS, f"{len(steps)} of {STEPS}")
    for index, name, allowed in ((0, "losses of the steps", 1e-4), (1, "gradient norms", 1e-4)):
        far = max(relative(found[index], expected[index]) for found, expected in zip(steps, taken))
        checks.add(name, far <= allowed, f"furthest {far:.1e}, relative")
    for name, found, expected in (("before", held_out[0], before), ("after", held_out[-1], after)):
        checks.add(
            f"held-out loss {name}",
            relative(found, expected) <= 1e-4,
            f"PyTorch {expected:.6f}, the engine {found:.6f}",
        )
    checks.add("the loss falls", after < before, f"{before:.4f} to {after:.4f}")

    loaded = load_base(kept)
    again = dict(loaded.named_parameters())
    change = lambda now: torch.cat([(now[name].detach() - begun[name]).flatten() for name in sorted(begun)])
    far = ((change(again) - change(trained)).norm() / change(trained).norm()).item()
    checks.add("what training changed in the matrices", far <= 1e-3, f"relative difference {far:.1e}")
    frozen = [
        name
        for name, parameter in model.named_parameters()
        if name not in begun and not torch.equal(parameter, again[name])
    ]
    checks.add("embedding, norms and head are as they were", not frozen, ", ".join(frozen))
    loss = mean_loss(loaded, inputs[count:], targets[count:], BATCH)
    checks.add(
        "transformers computes the held-out loss of what was written",
        relative(loss, held_out[-1]) <= 1e-5,
        f"{loss:.6f}, the engine {held_out[-1]:.6f}",
    )
    checks.close()


if __name__ == "__main__":
    main()
