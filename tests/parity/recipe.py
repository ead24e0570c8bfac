"""The engine's recipe in PyTorch: text to rows, the schedule, the loss and the steps. The scripts here share it."""

import json
import math
import os
import warnings

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.utils import logging

warnings.filterwarnings("ignore", category=FutureWarning)
logging.disable_progress_bar()

HELD_OUT_AT_MOST = 64
IGNORED = -100


def read_json(path):
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def load_base(folder):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def end_of_text(base, tokenizer):
    """The first of: tokenizer_config's eos_token, generation_config's eos_token_id, config's eos_token_id."""
    token = read_json(os.path.join(base, "tokenizer_config.json")).get("eos_token")
    if token is not None:
        return tokenizer.token_to_id(token["content"] if isinstance(token, dict) else token)
    for name in ("generation_config.json", "config.json"):
        eos = read_json(os.path.join(base, name)).get("eos_token_id")
        if eos is not None:
            return eos[0] if isinstance(eos, list) else eos
    raise SystemExit(f"{base}: no end-of-text token in tokenizer_config.json, generation_config.json or config.json")


def ids_of(base, path):
    """The ids of a plain text file, and one end-of-text id."""
    tokenizer = Tokenizer.from_file(os.path.join(base, "tokenizer.json"))
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    return tokenizer.encode(text).ids + [end_of_text(base, tokenizer)]


def rows_of(ids, seq_len):
    """Inputs [rows, T] and targets [rows, T] of windows of T+1 ids with stride T, the last one padded on the right."""
    if len(ids) < seq_len + 1:
        raise SystemExit(f"the text has {len(ids)} tokens, one row needs {seq_len + 1}")
    inputs, targets = [], []
    for start in range(0, len(ids) - 1, seq_len):
        window = ids[start : start + seq_len + 1]
        missing = seq_len + 1 - len(window)
        inputs.append((window + [0] * missing)[:-1])
        targets.append(window[1:] + [IGNORED] * missing)
    return torch.tensor(inputs), torch.tensor(targets)


def held_out_rows(rows, share):
    if share == 0 or rows < 2:
        return 0
    return min(max(int(share * rows), 1), HELD_OUT_AT_MOST)


def learning_rate(peak, step, steps, warmup):
    """Step counts from 1. The rate rises until step ceil(warmup * steps), then falls to zero in a line."""
    rise = math.ceil(warmup * steps)
    up = step / rise if rise else 1.0
    return peak * min(1.0, up, (steps - step + 1) / (steps - rise + 1))


def summed_loss(model, inputs, targets):
    """The loss summed over the targets, and their number. Padding is on the right, so no attention mask is needed."""
    logits = model(input_ids=inputs, use_cache=False).logits
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return total, (targets != IGNORED).sum().item()


@torch.no_grad()
def mean_loss(model, inputs, targets, batch):
    total = count = 0
    for start in range(0, len(inputs), batch):
        loss, number = summed_loss(model, inputs[start : start + batch], targets[start : start + batch])
        total, count = total + loss.item(), count + number
    return total / count


def optimizer_of(parameters, weight_decay=0.0):
    return torch.optim.AdamW(parameters, lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay)


def train_step(model, optimizer, rate, inputs, targets, clip=1.0):
    """One step; returns its loss, and the norm of the gradient before it was clipped."""
    group = optimizer.param_groups[0]
    group["lr"] = rate
    optimizer.zero_grad()
    total, count = summed_loss(model, inputs, targets)
    loss = total / count
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(group["params"], clip)
    optimizer.step()
    return loss.item(), norm.item()
