#!/usr/bin/env python3
"""The job of the benchmark, and PyTorch with PEFT doing it on one thread.

    reference.py make OUT [--model DIR --text FILE --batch 1 --seq-len 256 --steps 6]
    reference.py run OUT

`make` writes OUT/model, OUT/adapter, OUT/text.txt and OUT/job.json: without --model those of "config S", a random Llama
of 5.8 million parameters and 4 rows of 128 tokens. `run` prints each step as a JSON object on a line of its own, and
writes the trained adapter to OUT/trained. Every other engine must reproduce both.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "parity"))

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from recipe import ids_of, optimizer_of, rows_of, train_step

RATE, WEIGHT_DECAY, RANK, ALPHA = 5e-3, 0.01, 8, 16
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
# Token i is the character after U+4E00 by i.
FIRST_CHARACTER = 0x4E00
CONFIG_S = {
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "intermediate_size": 688,
    "vocab_size": 4096,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 4095,
}


def load_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def randomise(model, generator):
    """Norms around 1, everything else around 0; A and B alike, because with B = 0 the gradient of A is zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            spread = 0.1 if "norm" in name else 0.02 if "lora_B" in name else 0.04
            parameter.copy_(noise * spread + (1 if "norm" in name else 0))


def one_character_a_token(size):
    vocabulary = {chr(FIRST_CHARACTER + i): i for i in range(size)}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": False, "fuse_unk": False}
    missing = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    parts = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Digits", "individual_digits": True},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": parts},
        "model": {**model, **missing},
    }


def random_text(size, length, generator):
    """Frequent and rare tokens, where the next one is often a function of the last: something to learn."""
    drawn = torch.multinomial(1.0 / torch.arange(1, size), length, replacement=True, generator=generator).tolist()
    follows = (torch.rand(length, generator=generator) < 0.5).tolist()
    ids = [drawn[0]]
    for token, follow in zip(drawn[1:], follows[1:]):
        ids.append((ids[-1] * 7 + 3) % (size - 1) if follow else token)
    return "".join(chr(FIRST_CHARACTER + i) for i in ids)


def make(options):
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    model = out / "model"
    tokens = options.steps * options.batch * options.seq_len
    if options.model:
        model.unlink(missing_ok=True)
        model.symlink_to(pathlib.Path(options.model).resolve())
        # More characters than tokens, whatever the tokenizer.
        text = pathlib.Path(options.text).read_text(encoding="utf-8")[: 16 * tokens]
    else:
        network = LlamaForCausalLM(LlamaConfig(**CONFIG_S))
        randomise(network, generator)
        network.save_pretrained(model)
        tokenizer = one_character_a_token(CONFIG_S["vocab_size"])
        (model / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        text = random_text(CONFIG_S["vocab_size"], tokens, generator)
    (out / "text.txt").write_text(text, encoding="utf-8")
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=ATTENTION, task_type="CAUSAL_LM")
    tuned = get_peft_model(load_model(model), lora)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * (0.02 if "lora_B" in name else 0.04))
    tuned.save_pretrained(out / "adapter", save_embedding_layers=False)
    shape = {"batch": options.batch, "seqLen": options.seq_len, "steps": options.steps}
    recipe = {"lr": RATE, "weightDecay": WEIGHT_DECAY, "rank": RANK, "alpha": ALPHA}
    inputs, labels = rows_of(ids_of(str(model), str(out / "text.txt")), options.seq_len)
    wanted = options.steps * options.batch
    if len(inputs) < wanted:
        raise SystemExit(f"the text has {len(inputs)} rows, {options.steps} steps need {wanted}")
    rows = {"inputs": inputs[:wanted].tolist(), "labels": labels[:wanted].tolist()}
    (out / "job.json").write_text(json.dumps({**shape, **recipe, **rows}))


def run(options):
    torch.set_num_threads(1)
    out = pathlib.Path(options.out)
    job = json.loads((out / "job.json").read_text())
    # In eval mode nothing is dropped; gradients are computed all the same.
    tuned = PeftModel.from_pretrained(load_model(out / "model"), out / "adapter", is_trainable=True).eval()
    optimizer = optimizer_of([p for p in tuned.parameters() if p.requires_grad], job["weightDecay"])
    inputs, labels, batch = torch.tensor(job["inputs"]), torch.tensor(job["labels"]), job["batch"]
    for step in range(job["steps"]):
        rows = slice(step * batch, (step + 1) * batch)
        loss, _ = train_step(tuned, optimizer, job["lr"], inputs[rows], labels[rows], clip=float("inf"))
        print(json.dumps({"type": "step", "loss": loss}), flush=True)
    tuned.save_pretrained(out / "trained", save_embedding_layers=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    make_parser = commands.add_parser("make")
    make_parser.add_argument("out")
    make_parser.add_argument("--model")
    make_parser.add_argument("--text")
    make_parser.add_argument("--batch", type=int, default=4)
    make_parser.add_argument("--seq-len", type=int, default=128)
    make_parser.add_argument("--steps", type=int, default=12)
    make_parser.set_defaults(command=make)
    run_parser = commands.add_parser("run")
    run_parser.add_argument("out")
    run_parser.set_defaults(command=run)
    options = parser.parse_args()
    options.command(options)


main()
