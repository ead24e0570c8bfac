#!/usr/bin/env python3
"""SmolLM2-135M: the command line beside PEFT, on real text. Takes many minutes without a graphics card.

    check_smollm2.py --tabtune target/release/tabtune --model DIR --data TEXT --out DIR [--steps 10]
        [--pairs FILE.csv] [--gguf FILE]

From one adapter over the same rows: the losses of the steps, with the frozen weights in f32 and in f16 (the file holds
f16, so both compute the same numbers), and 40 tokens of greedy text, with and without the adapter. `--pairs` names a
table of E2E NLG (columns mr and ref): the held-out loss on some of its rows before and after 30 steps. `--page` leaves
what tests/browser/real_model.mjs repeats in Chromium. `--gguf` names the file that the model was made from, which must
train to the same bits. The last line is `N passed, N failed`.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import time

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from check_adapter import Checks
from recipe import IGNORED, end_of_text, ids_of, learning_rate, load_base, mean_loss, optimizer_of, rows_of, train_step

SEQ_LEN, PAIR_LEN, RATE, WARMUP, PAIR_STEPS, HELD_OUT = 48, 96, 5e-4, 0.05, 30, 12
PAGE_STEPS = 3
PROMPT, TOKENS = "The harbour was quiet that morning, and", 40


def tabtune(program, *arguments):
    start = time.time()
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(
            f"`tabtune {' '.join(map(str, arguments))}` ended with status {done.returncode}:\n{done.stderr}"
        )
    print(f"tabtune {arguments[0]}: {time.time() - start:.0f} s", flush=True)
    return done.stdout


def adapter_for(model, folder):
    """A LoRA on all linears with a B that is not zero, so that the first step moves A too."""
    torch.manual_seed(2)
    tuned = get_peft_model(
        load_base(model), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    ).eval()
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
    tuned.save_pretrained(folder, save_embedding_layers=False)


def tuned_by(model, folder):
    return PeftModel.from_pretrained(load_base(model), folder, is_trainable=True).eval()


def train_in_torch(model, inputs, targets, steps):
    optimizer = optimizer_of([p for p in model.parameters() if p.requires_grad])
    taken = []
    for step in range(1, steps + 1):
        row = slice((step - 1) % len(inputs), (step - 1) % len(inputs) + 1)
        taken.append(train_step(model, optimizer, learning_rate(RATE, step, steps, WARMUP), inputs[row], targets[row]))
    return taken


def train(program, model, first, data, out, steps, seq_len, weights, *more):
    log = out + ".events.jsonl"
    tabtune(
        program,
        "train",
        "--model",
        model,
        "--weights",
        weights,
        "--init",
        first,
        "--data",
        data,
        "--out",
        out,
        "--log",
        log,
        "--no-shuffle",
        "--batch",
        1,
        "--seq-len",
        seq_len,
        "--steps",
        steps,
        "--lr",
        RATE,
        "--warmup",
        WARMUP,
        "--schedule",
        "linear",
        "--eval-every",
        steps,
        *more,
    )
    with open(log, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def furthest(found, expected):
    far = [abs(a - b) / abs(b) for a, b in zip(found, expected)]
    return max(far, default=float("nan")) if len(found) == len(expected) else float("inf")


def compare_steps(checks, options, first):
    text = os.path.join(options.out, "text.txt")
    with open(options.data, encoding="utf-8") as file, open(text, "w", encoding="utf-8") as part:
        part.write(file.read(4 * SEQ_LEN * (options.steps + 2)))
    inputs, targets = rows_of(ids_of(options.model, text), SEQ_LEN)
    expected = train_in_torch(tuned_by(options.model, first), inputs, targets, options.steps)
    for weights in ("f32", "f16"):
        events = train(
            options.tabtune,
            options.model,
            first,
            text,
            os.path.join(options.out, weights),
            options.steps,
            SEQ_LEN,
            weights,
            "--holdout",
            0,
        )
        steps = [event for event in events if event["type"] == "step"]
        for name, index, allowed in (("loss", 0, 1e-3), ("gradNorm", 1, 1e-2)):
            far = furthest([step[name] for step in steps], [step[index] for step in expected])
            checks.add(f"{weights}: {name} of {options.steps} steps", far <= allowed, f"furthest {far:.1e}, relative")


def compare_gguf(checks, options, first):
    """After `compare_steps`, which trained the folder's model on the same text."""
    out = os.path.join(options.out, "gguf")
    text = os.path.join(options.out, "text.txt")
    train(options.tabtune, options.gguf, first, text, out, options.steps, SEQ_LEN, "f16", "--holdout", 0)
    found, expected = (
        load_file(os.path.join(folder, "adapter_model.safetensors"))
        for folder in (out, os.path.join(options.out, "f16"))
    )
    differ = [name for name in expected if name not in found or not torch.equal(found[name], expected[name])]
    what = f"GGUF: the {len(expected)} tensors of the adapter after {options.steps} steps"
    checks.add(what, found.keys() == expected.keys() and not differ, f"{len(differ)} differ")


def leave_for_page(options, first):
    """Checkpoints with f16 and f32 weights of the same values, a text, and the steps PEFT takes from `first` on it."""
    name, text = "smollm2-f32", "page.txt"
    wide = os.path.join(options.out, name)
    shutil.copytree(options.model, wide)
    weights = os.path.join(wide, "model.safetensors")
    save_file({tensor: values.float() for tensor, values in load_file(weights).items()}, weights, {"format": "pt"})
    with (
        open(options.data, encoding="utf-8") as file,
        open(os.path.join(options.out, text), "w", encoding="utf-8") as part,
    ):
        part.write(file.read(4 * SEQ_LEN * (PAGE_STEPS + 2)))
    inputs, targets = rows_of(ids_of(options.model, os.path.join(options.out, text)), SEQ_LEN)
    steps = train_in_torch(tuned_by(options.model, first), inputs, targets, PAGE_STEPS)
    size = lambda folder: f"{os.path.getsize(os.path.join(folder, 'model.safetensors')) / 1e6:.0f} MB"
    page = {
        "models": {
            "f16": {"path": os.path.relpath(options.model, options.out), "size": size(options.model)},
            "f32": {"path": name, "size": size(wide)},
        },
        "adapter": os.path.basename(first),
        "text": text,
        "settings": {
            "batch": 1,
            "seqLen": SEQ_LEN,
            "steps": PAGE_STEPS,
            "lr": RATE,
            "warmup": WARMUP,
            "schedule": "linear",
            "shuffle": False,
            "holdout": 0,
            "sampleEvery": PAGE_STEPS,
            "maxTokens": 4,
        },
        "steps": [{"loss": loss, "gradNorm": norm} for loss, norm in steps],
    }
    with open(os.path.join(options.out, "page.json"), "w", encoding="utf-8") as file:
        json.dump(page, file)


def compare_text(checks, options, first):
    tokenizer = Tokenizer.from_file(os.path.join(options.model, "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode(PROMPT).ids])
    model = tuned_by(options.model, first)
    for name, flags in (("base", []), ("adapter", ["--adapter", first])):
        with torch.no_grad(), model.disable_adapter() if not flags else torch.no_grad():
            new = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False
            )[0, ids.shape[1] :]
        expected = tokenizer.decode(new.tolist(), skip_special_tokens=True)
        found = tabtune(
            options.tabtune,
            "generate",
            "--model",
            options.model,
            "--prompt",
            PROMPT,
            "--temperature",
            0,
            "--max-tokens",
            TOKENS,
            *flags,
        )
        checks.add(f"{TOKENS} greedy tokens of the {name}", found == expected, repr(found))


def pairs(options):
    """The first rows of the table, one for each meaning: a file for the command line, and rows for PyTorch."""
    seen, chosen = set(), []
    with open(options.pairs, encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            if record["mr"] not in seen and len(chosen) < PAIR_STEPS + HELD_OUT:
                seen.add(record["mr"])
                chosen.append({"prompt": record["mr"] + "\n", "completion": record["ref"]})
    path = os.path.join(options.out, "pairs.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(pair) + "\n" for pair in chosen)
    tokenizer = Tokenizer.from_file(os.path.join(options.model, "tokenizer.json"))
    end = end_of_text(options.model, tokenizer)
    inputs, targets = [], []
    for pair in chosen:
        prompt = tokenizer.encode(pair["prompt"]).ids
        ids = (prompt + tokenizer.encode(pair["completion"], add_special_tokens=False).ids + [end])[: PAIR_LEN + 1]
        missing = PAIR_LEN + 1 - len(ids)
        inputs.append((ids + [0] * missing)[:PAIR_LEN])
        targets.append(([IGNORED] * (len(prompt) - 1) + ids[len(prompt) :] + [IGNORED] * missing)[:PAIR_LEN])
    return path, torch.tensor(inputs), torch.tensor(targets)


def compare_pairs(checks, options, first):
    path, inputs, targets = pairs(options)
    model = tuned_by(options.model, first)
    held = inputs[PAIR_STEPS:], targets[PAIR_STEPS:]
    with model.disable_adapter():
        before = mean_loss(model, *held, 4)
    train_in_torch(model, inputs[:PAIR_STEPS], targets[:PAIR_STEPS], PAIR_STEPS)
    after = mean_loss(model, *held, 4)
    # A fraction whose share of the rows is HELD_OUT, whatever the rounding.
    share = (HELD_OUT + 0.5) / len(inputs)
    events = train(
        options.tabtune,
        options.model,
        first,
        path,
        os.path.join(options.out, "pairs"),
        PAIR_STEPS,
        PAIR_LEN,
        "auto",
        "--holdout",
        share,
    )
    found = [event["loss"] for event in events if event["type"] == "eval"]
    for name, expected, loss in (("before", before, found[0]), ("after", after, found[-1])):
        checks.add(
            f"E2E, held-out loss {name} {PAIR_STEPS} steps",
            abs(loss - expected) <= 1e-3,
            f"PyTorch {expected:.5f}, the engine {loss:.5f}",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tabtune", "model", "data", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--pairs")
    parser.add_argument("--gguf")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    os.makedirs(options.out)
    first = os.path.join(options.out, "first")
    adapter_for(options.model, first)
    checks = Checks()
    compare_steps(checks, options, first)
    if options.gguf:
        compare_gguf(checks, options, first)
    if options.steps > 1:
        compare_text(checks, options, first)
    if options.page:
        leave_for_page(options, first)
    if options.pairs:
        compare_pairs(checks, options, first)
    checks.close()


if __name__ == "__main__":
    main()
