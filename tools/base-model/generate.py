#!/usr/bin/env python3
"""Lets SmolLM2-135M-Instruct write short texts for children on one GPU, and filters them on the CPU meanwhile.

    python3 tools/base-model/generate.py --model CHECKPOINT --out DIR --seconds 100

CHECKPOINT is the folder that tools/smollm2.py makes. DIR/synth.txt gets the texts that are kept, each ended by a line
`<|endoftext|>`, DIR/stats.json how many were dropped and why. Every round is a batch of prompts of one length.
"""

import argparse
import json
import multiprocessing
import os
import random
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import prompts
from decoder import END, Decoder
from cleaning import clean, words_of

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
# A GPU answers this many prompts a second.
PROMPTS_PER_SECOND = 1400
MOST_WITH_ONE_OPENING = 20
MOST_SHARED = 0.35
"""The part of a text's sampled five-word sequences that earlier texts may hold."""


def chat(prompt):
    turns = (("system", SYSTEM), ("user", prompt.message))
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + (
        f"<|im_start|>assistant\n{prompt.beginning}"
    )


def prepare(job):
    """(ids, prompt) of a number of prompts."""
    seed, count, tokenizer_file = job
    rng = random.Random(seed)
    drawn = [prompts.draw(rng) for _ in range(count)]
    tokenizer = Tokenizer.from_file(tokenizer_file)
    encoded = tokenizer.encode_batch([chat(prompt) for prompt in drawn], add_special_tokens=False)
    return [(np.array(one.ids, dtype=np.uint16), prompt) for one, prompt in zip(encoded, drawn)]


def judge(answers, results, tokenizer_file):
    """A process that cleans answers: (text or None, kind or why not, tokens, hash of its opening, hashes of fives)."""
    tokenizer = Tokenizer.from_file(tokenizer_file)
    while (job := answers.get()) is not None:
        judged = []
        for ids, prompt in job:
            ids = ids.tolist()
            if END not in ids:
                judged.append((None, "not ended", len(ids), 0, []))
                continue
            count = ids.index(END)
            answer = prompt.beginning + tokenizer.decode(ids[:count], skip_special_tokens=False)
            text, fault = clean(answer, prompt.kind, prompt.hero)
            words = words_of(text or "")
            fives = zip(words, words[1:], words[2:], words[3:], words[4:])
            hashes = [zlib.crc32(" ".join(five).encode()) for five in fives]
            opening = zlib.crc32(" ".join(words[:8]).encode())
            judged.append((text, fault or prompt.kind, count, opening, [h for h in hashes if h % 6 == 0]))
        results.put(judged)
    results.put(None)


def collect(results, judges, out, pipe):
    """A process that writes down what is new."""
    seen, openings, dropped, kinds = set(), {}, {}, {}
    made = tokens = kept = kept_tokens = kept_bytes = 0
    told = time.time()
    with open(out / "synth.txt", "w", encoding="utf-8") as file:
        while judges > 0:
            judged = results.get()
            if judged is None:
                judges -= 1
                continue
            for text, kind, count, opening, fives in judged:
                made, tokens = made + 1, tokens + count
                fault = kind if text is None else ""
                if text is not None and openings.get(opening, 0) >= MOST_WITH_ONE_OPENING:
                    fault = "same opening"
                elif fives and sum(five in seen for five in fives) > MOST_SHARED * len(fives):
                    fault = "near duplicate"
                if fault:
                    dropped[fault] = dropped.get(fault, 0) + 1
                    continue
                openings[opening] = openings.get(opening, 0) + 1
                seen.update(fives)
                kinds[kind] = kinds.get(kind, 0) + 1
                kept, kept_tokens, kept_bytes = kept + 1, kept_tokens + count, kept_bytes + len(text)
                file.write(text + "\n<|endoftext|>\n")
            if time.time() - told > 10:
                told = time.time()
                print(f"  kept {kept} of {made} texts, {kept_bytes / 1e6:.1f} MB", flush=True)
    stats = dict(
        made=made,
        kept=kept,
        tokens=tokens,
        kept_tokens=kept_tokens,
        kept_bytes=kept_bytes,
        kinds=kinds,
        dropped=dict(sorted(dropped.items(), key=lambda item: -item[1])),
    )
    (out / "stats.json").write_text(json.dumps(stats, indent=1))
    pipe.send(stats)


def rounds_of(options, tokenizer_file):
    """Batches of prompts of one length each, in a random order."""
    count = options.prompts or int(options.seconds * PROMPTS_PER_SECOND) + 4 * options.batch
    jobs = [(options.seed * 100003 + i, min(4096, count - 4096 * i), tokenizer_file) for i in range(-(-count // 4096))]
    by_length = {}
    with multiprocessing.Pool(options.processes) as pool:
        for part in pool.imap(prepare, jobs):
            for ids, prompt in part:
                by_length.setdefault(len(ids), []).append((ids, prompt))
    full = lambda some: range(0, len(some) - options.batch + 1, options.batch)
    rounds = [some[i : i + options.batch] for some in by_length.values() for i in full(some)]
    if not rounds:
        longest = max(map(len, by_length.values()))
        raise SystemExit(
            f"no {options.batch} of {count} prompts have one length, at most {longest}: use a smaller --batch"
        )
    random.Random(options.seed).shuffle(rounds)
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the checkpoint of SmolLM2-135M-Instruct")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=100, help="from the start of the program")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=352, help="the most new tokens of a text")
    parser.add_argument("--prompts", type=int, help="how many to prepare; by default as many as a GPU answers")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 3), help="that filter")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.time()
    say = lambda words: print(f"{time.time() - begun:.0f} s: {words}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer_file = str(Path(options.model) / "tokenizer.json")

    # The processes are forked before CUDA is used.
    multiprocessing.set_start_method("fork")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    answers, results = multiprocessing.Queue(), multiprocessing.Queue(64)
    receiver, sender = multiprocessing.Pipe()
    start = lambda target, *args: multiprocessing.Process(target=target, args=args, daemon=True).start()
    for _ in range(options.processes):
        start(judge, answers, results, tokenizer_file)
    start(collect, results, options.processes, options.out, sender)

    rounds = rounds_of(options, tokenizer_file)
    longest = max(len(batch[0][0]) for batch in rounds)
    say(f"{len(rounds)} rounds of {options.batch}")
    positions = -(-(longest + options.tokens) // 64) * 64
    decoder = Decoder(options.model, Tokenizer.from_file(tokenizer_file), options.batch, positions, options.tokens)
    torch.manual_seed(options.seed)
    end = begun + options.seconds
    tokens = 0
    for number, batch in enumerate(rounds, 1):
        written = decoder.round(np.stack([ids for ids, _ in batch]), lambda: time.time() > end)
        tokens += int((written != END).sum())
        pairs = [(ids, prompt) for ids, (_, prompt) in zip(written, batch)]
        share = -(-len(pairs) // options.processes)
        for i in range(0, len(pairs), share):
            answers.put(pairs[i : i + share])
        say(f"round {number}, {tokens / 1e6:.2f} M tokens written")
        if time.time() > end:
            break
    for _ in range(options.processes):
        answers.put(None)
    print(json.dumps(receiver.recv(), indent=1))


if __name__ == "__main__":
    main()
