#!/usr/bin/env python3
"""Runs the command line and PEFT side by side, from one adapter over the same rows, and compares number for number.

    cargo build && python tests/parity/check_run.py --tabtune target/debug/tabtune --base www/public/base \\
        --data www/public/samples/captain.txt --out artefacts/parity --device cpu

On a small random model of each family, where float32 leaves room for nothing but the order of additions, and on the
base that the page ships. That one has sharp attention and large activations: two float32 implementations of PyTorch's
own (eager and fused attention) differ by 5e-4 in its logits and by 2e-3 of the largest element in its gradients, and
drift apart as AdamW divides by the gradient's size. So it is followed for three steps only, with tolerances of that
order.
The last line is `N passed, N failed`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file

from check_adapter import WEIGHTS, Checks, check_tensors
from recipe import held_out_rows, ids_of, learning_rate, load_base, mean_loss, optimizer_of, rows_of, train_step

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures"))
from make_fixtures import MODELS, make_model  # noqa: E402

# About 1,100 tokens: 35 rows of which 3 are held out, so 11 steps of 3 rows make an epoch and the last has 2.
CHARACTERS, SEQ_LEN, BATCH, HOLDOUT, WARMUP, RATE = 3000, 32, 3, 0.1, 0.1, 5e-3
# The models of the fixtures that bear the name of their family.
FAMILIES = [name for name, config in MODELS.items() if name == config["model_type"]]
TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json"]


class Tolerance:
    """How far the engine may be from PyTorch: losses, norms and what training changed in the adapter, all relative."""

    def __init__(self, loss, norm, change):
        self.loss, self.norm, self.change = loss, norm, change


def tabtune(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"`{program} {' '.join(map(str, arguments))}` ended with status {done.returncode}")
    return done.stdout


ALL_LINEAR = dict(r=4, lora_alpha=8, target_modules="all-linear")
# Ranks and scales by site; what the engine keeps of it has one rank and one scale and must compute the same.
PATTERNS = dict(
    r=4,
    lora_alpha=8,
    use_rslora=True,
    target_modules=["q_proj", "v_proj", "down_proj"],
    layers_to_transform=[1],
    rank_pattern={"down_proj": 6, "q_proj": 2},
    alpha_pattern={"v_proj": 3},
)


def first_adapter(base, config=ALL_LINEAR):
    """A LoRA with a B that is not zero, so that the first step moves A too."""
    torch.manual_seed(1)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    return model


def train_in_torch(model, rows, steps, every):
    """Losses and norms of the steps, {step: held-out loss}, {step: adapter}; rows in file order, epoch after epoch."""
    train_inputs, train_targets, held_inputs, held_targets = rows
    optimizer = optimizer_of([p for p in model.parameters() if p.requires_grad])
    with model.disable_adapter():
        evaluations = {0: mean_loss(model, held_inputs, held_targets, BATCH)}
    taken, adapters, start = [], {}, 0
    for step in range(1, steps + 1):
        chosen = slice(start, start + BATCH)
        rate = learning_rate(RATE, step, steps, WARMUP)
        taken.append((rate, *train_step(model, optimizer, rate, train_inputs[chosen], train_targets[chosen])))
        start = start + BATCH if start + BATCH < len(train_inputs) else 0
        if step % every == 0:
            evaluations[step] = mean_loss(model, held_inputs, held_targets, BATCH)
            adapters[step] = {
                k: v.clone() for k, v in get_peft_model_state_dict(model, save_embedding_layers=False).items()
            }
    return taken, evaluations, adapters


def relative(found, expected):
    return abs(found - expected) / abs(expected)


def compare(checks, label, program, device, base, text, out, steps, every, tolerance, config=ALL_LINEAR):
    first, kept, log = (os.path.join(out, label, name) for name in ("first", "kept", "run.jsonl"))
    shutil.rmtree(os.path.join(out, label), ignore_errors=True)
    model = first_adapter(load_base(base), config)
    model.save_pretrained(first, save_embedding_layers=False)
    inputs, targets = rows_of(ids_of(base, text), SEQ_LEN)
    count = len(inputs) - held_out_rows(len(inputs), HOLDOUT)
    taken, evaluations, adapters = train_in_torch(
        model, (inputs[:count], targets[:count], inputs[count:], targets[count:]), steps, every
    )

    tabtune(
        program,
        "train",
        "--device",
        device,
        "--model",
        base,
        "--data",
        text,
        "--init",
        first,
        "--out",
        kept,
        "--log",
        log,
        "--no-shuffle",
        "--steps",
        steps,
        "--batch",
        BATCH,
        "--seq-len",
        SEQ_LEN,
        "--lr",
        RATE,
        "--schedule",
        "linear",
        "--warmup",
        WARMUP,
        "--clip",
        1,
        "--weight-decay",
        0,
        "--holdout",
        HOLDOUT,
        "--eval-every",
        every,
    )
    with open(log, encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    logged = [(e["lr"], e["loss"], e["gradNorm"]) for e in events if e["type"] == "step"]
    held_out = {e["step"]: e["loss"] for e in events if e["type"] == "eval"}

    checks.add(f"{label}: as many steps", len(logged) == steps, f"{len(logged)} of {steps}")
    for index, (name, allowed) in enumerate(
        [("learning rates", 1e-5), ("losses of the steps", tolerance.loss), ("gradient norms", tolerance.norm)]
    ):
        far = [relative(found[index], expected[index]) for found, expected in zip(logged, taken)]
        worst = far.index(max(far))
        checks.add(
            f"{label}: {name}",
            far[worst] <= allowed,
            f"furthest {far[worst]:.1e} at step {worst + 1}: "
            f"PyTorch {taken[worst][index]:.6f}, the engine {logged[worst][index]:.6f}",
        )
    for step, expected in evaluations.items():
        found = held_out.get(step, float("nan"))
        checks.add(
            f"{label}: held-out loss at step {step}",
            relative(found, expected) <= tolerance.loss,
            f"PyTorch {expected:.6f}, the engine {found:.6f}",
        )

    best = min((step for step in evaluations if step), key=evaluations.get)
    done = events[-1]
    checks.add(
        f"{label}: the best step",
        done["type"] == "done" and done["bestStep"] == best,
        f"PyTorch {best}, the engine {done.get('bestStep')}",
    )

    check_kept(checks, label, program, device, base, text, kept, (inputs, targets), held_out[best], tolerance)
    if config != ALL_LINEAR:
        return
    begun, found, expected = (
        flat(adapter)
        for adapter in (load_file(os.path.join(first, WEIGHTS)), load_file(os.path.join(kept, WEIGHTS)), adapters[best])
    )
    far = (
        ((found - expected).norm() / (expected - begun).norm()).item() if len(found) == len(expected) else float("nan")
    )
    checks.add(
        f"{label}: what training changed in the adapter", far <= tolerance.change, f"relative difference {far:.1e}"
    )


def flat(adapter):
    return torch.cat([adapter[key].flatten() for key in sorted(adapter)])


def check_kept(checks, label, program, device, base, text, kept, rows, best_loss, tolerance):
    """PEFT loads the adapter on disk whole, and both evaluate it alike."""
    model = PeftModel.from_pretrained(load_base(base), kept).eval()
    check_tensors(checks, model, kept)
    held = held_out_rows(len(rows[0]), HOLDOUT)
    loss = mean_loss(model, rows[0][-held:], rows[1][-held:], BATCH)
    checks.add(
        f"{label}: PEFT's held-out loss of the kept adapter",
        relative(best_loss, loss) <= tolerance.loss,
        f"PyTorch {loss:.6f}, the engine while it trained {best_loss:.6f}",
    )
    for name, adapter in [("base", []), ("kept adapter", ["--adapter", kept])]:
        report = json.loads(
            tabtune(
                program,
                "eval",
                "--device",
                device,
                "--model",
                base,
                "--data",
                text,
                "--seq-len",
                SEQ_LEN,
                "--batch",
                BATCH,
                "--json",
                *adapter,
            )
        )
        if adapter:
            loss = mean_loss(model, *rows, BATCH)
        else:
            with model.disable_adapter():
                loss = mean_loss(model, *rows, BATCH)
        tokens = (rows[1] >= 0).sum().item()
        checks.add(
            f"{label}: eval of the {name}",
            relative(report["loss"], loss) <= tolerance.loss and report["tokens"] == tokens,
            f"PyTorch {loss:.6f} over {tokens} tokens, the engine {report['loss']:.6f} over {report['tokens']}",
        )


def small_model(folder, base, name):
    """A model of the fixtures, with a few hundred thousand random parameters because it has the base's vocabulary."""
    with open(os.path.join(base, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    make_model(
        folder,
        MODELS[name] | {key: config[key] for key in ("vocab_size", "bos_token_id", "eos_token_id")},
        seed=5,
    )
    for name in TOKENIZER_FILES:
        shutil.copy(os.path.join(base, name), folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabtune", required=True, help="the command line's program")
    parser.add_argument("--base", required=True, help="directory of the checkpoint the page ships")
    parser.add_argument("--data", required=True, help=f"plain text file; its first {CHARACTERS} characters are used")
    parser.add_argument("--out", required=True, help="directory for what both sides write")
    parser.add_argument("--device", required=True, choices=["gpu", "cpu"], help="what computes")
    options = parser.parse_args()
    torch.set_num_threads(1)

    os.makedirs(options.out, exist_ok=True)
    text = os.path.join(options.out, "text.txt")
    with (
        open(options.data, encoding="utf-8", newline="") as file,
        open(text, "w", encoding="utf-8", newline="") as part,
    ):
        part.write(file.read(CHARACTERS))
    checks = Checks()
    small_runs = [("llama-tied", ALL_LINEAR), ("llama-tied", PATTERNS), *((name, ALL_LINEAR) for name in FAMILIES)]
    for name, config in small_runs:
        small = os.path.join(options.out, "models", name)
        small_model(small, options.base, name)
        compare(
            checks,
            f"{name}{' with patterns' if config is PATTERNS else ''} on the {options.device}",
            options.tabtune,
            options.device,
            small,
            text,
            options.out,
            steps=14,
            every=7,
            tolerance=Tolerance(1e-5, 1e-4, 1e-4),
            config=config,
        )
    compare(
        checks,
        f"base on the {options.device}",
        options.tabtune,
        options.device,
        options.base,
        text,
        options.out,
        steps=3,
        every=3,
        tolerance=Tolerance(1e-3, 2e-2, 0.2),
    )
    checks.close()


if __name__ == "__main__":
    main()
