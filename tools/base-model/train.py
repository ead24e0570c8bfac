#!/usr/bin/env python3
"""Trains the built-in model from text, with PyTorch, on one GPU; on a CPU it works too, but takes hours.

    python3 tools/base-model/train.py --text train.txt.xz=0.6 synth.txt=0.4 --valid valid.txt.xz --out DIR

The number after a text is its share of the rows of every batch. A text may be compressed with xz; a line
`<|endoftext|>` ends each document. A hundredth of every text but the first is held out. DIR gets an ordinary Hugging
Face checkpoint; the held-out losses and samples are printed. On a GPU a whole step is one CUDA graph.
"""

import argparse
import lzma
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model import Model, Size, export, sample
from optimizer import Optimizer

SIZES = {"5m": Size(256, 6, 8, 4, 688, 256), "tiny": Size(64, 2, 2, 2, 192, 128)}
MUON_RATE, ADAM_RATE, WARMUP = 5e-3, 2e-3, 100
# The part of the rows that begin where a document begins.
ALIGNED = 0.3
VOCABULARY = 4096
# The tokenizer learns from this many characters at most, of each text by its share.
TOKENIZER_CHARACTERS = 40e6
END = "<|endoftext|>"
PROMPTS = [
    "Once upon a time",
    "One day, a little fox",
    "In a small village there lived an old woman who",
    '"Where are you going?" said',
    "Dear Anna,",
    "The rain had stopped, and",
]


class Text(NamedTuple):
    """Documents in a random order, as token ids with END after each; where each begins; their bytes."""

    ids: np.ndarray
    starts: np.ndarray
    bytes: int


def read(path):
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [document.strip() for document in file.read().split(END) if document.strip()]


def tokenizer_of(texts, shares):
    def beginning(documents, characters):
        some, count = [], 0
        for i in np.random.default_rng(0).permutation(len(documents)):
            some.append(documents[i])
            count += len(documents[i])
            if count > characters:
                break
        return some

    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    parts = [beginning(documents, TOKENIZER_CHARACTERS * share) for documents, share in zip(texts, shares)]
    tokenizer.train_from_iterator([document for part in parts for document in part], trainer)
    return tokenizer


def encode(documents, tokenizer):
    shuffled = [documents[i] for i in np.random.default_rng(1).permutation(len(documents))]
    end = tokenizer.token_to_id(END)
    encoded = tokenizer.encode_batch(shuffled, add_special_tokens=False)
    rows = [np.array(one.ids + [end], dtype=np.uint16) for one in encoded]
    starts = np.cumsum([0] + [len(row) for row in rows[:-1]])
    return Text(np.concatenate(rows), starts, sum(len(document.encode()) for document in shuffled))


class Batches:
    """Rows of T + 1 tokens, drawn on the device."""

    def __init__(self, texts, shares, rows, T, device):
        self.device, self.span = device, torch.arange(T + 1, device=device)
        counts = [round(rows * share) for share in shares]
        counts[-1] = rows - sum(counts[:-1])
        self.sources = []
        for text, count in zip(texts, counts):
            last = len(text.ids) - T - 1
            starts = text.starts[text.starts < last]
            put = lambda array: torch.from_numpy(array).to(device)
            self.sources.append((put(text.ids.astype(np.int32)), put(starts), last, count))

    def draw(self):
        rows = []
        below = lambda limit, count: (torch.rand(count, device=self.device, dtype=torch.float64) * limit).long()
        for ids, starts, last, count in self.sources:
            first = below(last, count)
            aligned = int(count * ALIGNED)
            if aligned > 0:
                first[:aligned] = starts[below(len(starts), aligned)]
            rows.append(ids[first[:, None] + self.span])
        rows = torch.cat(rows).long()
        return rows[:, :-1], rows[:, 1:]


def loss_of(model, inputs, targets, reduction="mean"):
    on_gpu = inputs.device.type == "cuda"
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=on_gpu, cache_enabled=False):
        logits = model(inputs)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction=reduction)


@torch.no_grad()
def evaluate(model, text, T, most=None):
    """(nats per token, bits per byte) over windows of T tokens, at most `most`."""
    count = min((len(text.ids) - 1) // T, most or len(text.ids))
    windows = np.stack([text.ids[i * T : i * T + T + 1] for i in range(count)]).astype(np.int64)
    total = 0.0
    for some in torch.from_numpy(windows).split(64):
        some = some.to(model.cos.device)
        total += loss_of(model, some[:, :-1], some[:, 1:], "sum").item()
    nats = total / (count * T)
    return nats, nats / math.log(2) * len(text.ids) / text.bytes


def as_graph(step, model, optimizer):
    """The step as a CUDA graph. Capturing takes a few steps, which are undone."""
    saved = [parameter.detach().clone() for parameter in model.parameters()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    optimizer.forget()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), saved):
            parameter.copy_(value)
    return graph.replay


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", required=True, metavar="FILE=SHARE")
    parser.add_argument("--valid", type=Path, required=True, help="documents like those of the first text")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="5m")
    parser.add_argument("--steps", type=int, default=2071)
    parser.add_argument("--batch", type=int, default=256)
    options = parser.parse_args()
    begun = time.time()
    say = lambda *words: print(f"{time.time() - begun:6.1f} s:", *words, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = SIZES[options.size]
    T = size.context

    names, shares = zip(*(argument.rsplit("=", 1) for argument in options.text))
    shares = [float(share) / sum(map(float, shares)) for share in shares]
    documents = [read(Path(name)) for name in names]
    held_out = {str(options.valid): read(options.valid)}
    for i in range(1, len(documents)):
        held_out[names[i]] = documents[i][::100]
        documents[i] = [document for j, document in enumerate(documents[i]) if j % 100]
    tokenizer = tokenizer_of(documents, shares)
    tokenizer.save(str(options.out / "tokenizer.json"))
    texts = [encode(some, tokenizer) for some in documents]
    held_out = {name: encode(some, tokenizer) for name, some in held_out.items()}
    for name, text in (*zip(names, texts), *held_out.items()):
        say(f"{name}: {len(text.ids) / 1e6:.2f} M tokens")
        if len(text.ids) < 2 * T:
            raise SystemExit(f"{name} is too short: at least {2 * T} tokens are needed")

    model = Model(tokenizer.get_vocab_size(), size).to(device)
    optimizer = Optimizer(model)
    batches = Batches(texts, shares, options.batch, T, device)
    loss = torch.zeros((), device=device)

    def step():
        current = loss_of(model, *batches.draw())
        current.backward()
        loss.copy_(current.detach())
        optimizer.step()

    take = as_graph(step, model, optimizer) if device == "cuda" else step
    say(f"{sum(map(torch.numel, model.parameters())) / 1e6:.2f} M parameters on {device}")
    for number in range(options.steps):
        # Warm up, hold, decay.
        part = number / options.steps
        scale = min(1.0, (number + 1) / WARMUP) * (1.0 if part < 0.6 else max(0.02, (1 - part) / 0.4))
        optimizer.muon_rate.fill_(MUON_RATE * scale)
        optimizer.adam_rate.fill_(ADAM_RATE * scale)
        take()
        if (number + 1) % 250 == 0:
            parts = [f"{name} {evaluate(model, text, T, 128)[1]:.3f}" for name, text in held_out.items()]
            say(f"step {number + 1}, loss {loss.item():.3f}, bits per byte: {', '.join(parts)}")
    broken = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
    if broken:
        raise SystemExit(f"not finite: {', '.join(broken)}")
    export(model, size, tokenizer, options.out)
    for name, text in held_out.items():
        nats, bits = evaluate(model, text, T)
        print(f"{name}: {nats:.3f} nats per token, {bits:.3f} bits per byte")
    for seed, prompt in enumerate(PROMPTS):
        print(f"\n> {sample(model, tokenizer, prompt, min(180, T - 20), seed)}", flush=True)


if __name__ == "__main__":
    main()
