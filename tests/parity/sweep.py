#!/usr/bin/env python3
"""Held-out loss of PEFT's LoRA over a run, for several learning rates: how the defaults of the page were chosen.

    python tests/parity/sweep.py --base www/public/base --data www/public/samples/NAME.txt \\
        --lr 2e-3,5e-3,1e-2 --batch 4 --seq-len 64

Rows, schedule and loss are the engine's (recipe.py): the last tenth of the rows, at most 64, is held out before the
rows are shuffled once per epoch; AdamW without weight decay, the gradient norm clipped at 1, the learning rate rising
over the first 5 % of the steps. One line is printed per learning rate and seed, with the held-out loss (nats per token)
at step 0 and at every tenth of the run, and the step of the lowest.
"""

import argparse
import time

import torch
from peft import LoraConfig, get_peft_model

from recipe import held_out_rows, ids_of, learning_rate, load_base, mean_loss, optimizer_of, rows_of, train_step


def run(options, rows, peak, seed):
    """The held-out losses [(step, loss)] of one run."""
    train_inputs, train_targets, held_inputs, held_targets = rows
    base = load_base(options.base)
    torch.manual_seed(seed)
    adapter = LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, adapter).eval()
    optimizer = optimizer_of([p for p in model.parameters() if p.requires_grad])
    order = torch.Generator().manual_seed(seed)
    queue = []
    losses = [(0, mean_loss(model, held_inputs, held_targets, options.batch))]
    every = max(options.steps // 10, 1)
    for step in range(1, options.steps + 1):
        if not queue:
            queue = torch.randperm(len(train_inputs), generator=order).tolist()
        chosen, queue = queue[: options.batch], queue[options.batch :]
        rate = learning_rate(peak, step, options.steps, options.warmup)
        train_step(model, optimizer, rate, train_inputs[chosen], train_targets[chosen])
        if step % every == 0 or step == options.steps:
            losses.append((step, mean_loss(model, held_inputs, held_targets, options.batch)))
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="directory of the Hugging Face checkpoint")
    parser.add_argument("--data", required=True, help="plain text file, UTF-8")
    parser.add_argument("--lr", default="2e-3,5e-3,1e-2", help="peak learning rates, separated by commas")
    parser.add_argument("--seeds", default="0", help="seeds of A and of the order of the rows, separated by commas")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=64)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=16)
    parser.add_argument("--warmup", type=float, default=0.05)
    parser.add_argument("--holdout", type=float, default=0.1)
    options = parser.parse_args()
    torch.set_num_threads(1)

    ids = ids_of(options.base, options.data)
    inputs, targets = rows_of(ids, options.seq_len)
    kept = len(inputs) - held_out_rows(len(inputs), options.holdout)
    if kept == len(inputs):
        raise SystemExit("nothing is held out: give a longer text or a larger --holdout")
    rows = (inputs[:kept], targets[:kept], inputs[kept:], targets[kept:])
    print(
        f"{options.data}: {len(ids)} tokens, {kept} rows to train on, {len(inputs) - kept} held out; "
        f"batch {options.batch} x {options.seq_len}, {options.steps} steps, "
        f"rank {options.rank}, alpha {options.alpha:g}",
        flush=True,
    )
    for peak in map(float, options.lr.split(",")):
        for seed in map(int, options.seeds.split(",")):
            begun = time.time()
            losses = run(options, rows, peak, seed)
            best_step, best = min(losses[1:], key=lambda at: at[1])
            path = " ".join(f"{step}:{loss:.3f}" for step, loss in losses)
            print(
                f"lr {peak:g} seed {seed}: {losses[0][1]:.3f} -> {best:.3f} (step {best_step})  {path}  "
                f"{time.time() - begun:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
