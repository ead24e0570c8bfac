#!/usr/bin/env python3
"""Merges adapters with the command line, loads the checkpoints into transformers, and compares with PEFT's own merge.

    cargo build && python tests/parity/check_merge.py --tabtune target/debug/tabtune --base www/public/base \\
        --text www/public/samples/captain.txt --out artefacts/merge \\
        --package artefacts/package/merged --page artefacts/merged_job

PEFT's is `merge_and_unload`. The adapters are those of tests/fixtures, which PEFT wrote (ranks and scales by site, one
layer, an expression; bases in f32, f16 and bf16), and one on the base the page ships. GGUF files of tests/fixtures
become checkpoints of transformers. What the tests of the package and of the page have merged must have the bytes that
the command line writes. The last line is `N passed, N failed`.
"""

import argparse
import filecmp
import os
import shutil
import struct
import zipfile

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import transpose
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from check_adapter import Checks
from check_run import first_adapter, tabtune
from recipe import load_base, read_json

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")
# What tests/fixtures/make_gguf.py gives the tokenizers.
TEXT = "The tide, 1987: a {boat} – it's naïve?\n\n  <|im_start|>\nuser\nHello<|im_end|>"
CASES = [
    "llama-all-linear",
    "llama-patterns",
    "llama-layer-1",
    "llama-regex",
    "llama-tied-all-linear",
    "llama-wide-head-rank-3",
    "gpt2-all-linear",
    "gpt2-odd-c-proj",
    "gemma3-all-linear",
    "phi3-fused",
]
WEIGHTS = "model.safetensors"
GGUF = "model.gguf"
# What the package was asked for, as the command line is.
FORMS = {
    "as-base": [],
    "half-strength": ["--strength", 0.5],
    "f32": ["--type", "f32"],
    "gguf-f16": [],
    "gguf-q8_0": ["--type", "q8_0"],
}
LOGITS_TOLERANCE = 1e-4
ONE_STEP = ["--steps", 1, "--seq-len", 16, "--rank", 2, "--holdout", 0, "--device", "cpu"]
# PyTorch rounds f64 to f32 on its way to f16 and bf16, which is another number once in some 10,000.
ROUNDED_TWICE = 1e-3


def header_of(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return file.read(length)


def merged_tensors(folder, model):
    """The base's tensors, with W + scale · B A in f64 where PEFT has an adapter, rounded to the base's format."""
    tensors = load_file(os.path.join(folder, WEIGHTS))
    for name, module in model.base_model.model.named_modules():
        if isinstance(module, LoraLayer):
            a, b = (getattr(module, which)["default"].weight.detach().double() for which in ("lora_A", "lora_B"))
            weight = tensors[name + ".weight"]
            change = transpose(b @ a, module.fan_in_fan_out)
            tensors[name + ".weight"] = (weight.double() + module.scaling["default"] * change).to(weight.dtype)
    return tensors


def compare(checks, label, program, base, adapter, out):
    shutil.rmtree(out, ignore_errors=True)
    tabtune(program, "merge", "--model", base, "--adapter", adapter, "--out", out)
    checks.add(
        f"{label}: the base's header",
        header_of(os.path.join(base, WEIGHTS)) == header_of(os.path.join(out, WEIGHTS)),
        "names, order, formats",
    )
    with open(os.path.join(base, "config.json"), "rb") as before, open(os.path.join(out, "config.json"), "rb") as after:
        checks.add(f"{label}: the base's config", before.read() == after.read(), "byte for byte")

    model = PeftModel.from_pretrained(load_base(base), adapter).eval()
    found, expected = load_file(os.path.join(out, WEIGHTS)), merged_tensors(base, model)
    stored = {str(tensor.dtype) for tensor in expected.values()}
    differ = sum((found[name] != tensor).sum().item() for name, tensor in expected.items())
    count = sum(tensor.numel() for tensor in expected.values())
    allowed = 0 if stored == {"torch.float32"} else ROUNDED_TWICE * count
    checks.add(
        f"{label}: W + scale B A, rounded once",
        found.keys() == expected.keys() and differ <= allowed,
        f"{differ} of {count} numbers differ, {stored}",
    )

    vocabulary = read_json(os.path.join(base, "config.json"))["vocab_size"]
    ids = torch.randint(0, vocabulary, (2, 32), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        tuned, merged = model(input_ids=ids).logits, load_base(out)(input_ids=ids).logits
        unloaded = model.merge_and_unload()(input_ids=ids).logits
        untouched = load_base(base)(input_ids=ids).logits
    checks.add(
        f"{label}: the adapter does something",
        (merged - untouched).abs().max() > 1e-3,
        f"{(merged - untouched).abs().max():.2g}",
    )
    if stored == {"torch.float32"}:
        far = (merged - unloaded).abs().max().item()
        checks.add(f"{label}: logits of PEFT's merge_and_unload", far <= LOGITS_TOLERANCE, f"max difference {far:.1e}")
    else:
        far = ((merged - tuned).abs().max() / (tuned - untouched).abs().max()).item()
        # The nearest bf16 is up to 0.4 % away; in the page's base, whose attention is sharp, f16 does as much.
        checks.add(f"{label}: logits up to the base's rounding", far <= 0.1, f"{far:.1e} of what the adapter changes")


def same_files(checks, label, program, base, adapter, given, options, out):
    """The files in the folder `given` are those that the command line writes, byte for byte."""
    shutil.rmtree(out, ignore_errors=True)
    names = sorted(os.listdir(given))
    is_gguf = names == [GGUF]
    os.makedirs(os.path.dirname(out) if not is_gguf else out, exist_ok=True)
    into = os.path.join(out, GGUF) if is_gguf else out
    tabtune(program, "merge", "--model", base, "--adapter", adapter, "--out", into, *options)
    differ = [name for name in names if not filecmp.cmp(os.path.join(given, name), os.path.join(out, name), False)]
    same = bool(names) and names == sorted(os.listdir(out)) and not differ
    checks.add(f"{label}: the files of the command line", same, f"{len(names)} files, differ: {differ}")


def compare_converted(checks, options):
    """A checkpoint that is made of a GGUF file is that model in transformers."""
    for name in ("llama", "gpt2", "gemma3", "phi3"):
        base, out = (os.path.join(folder, name) for folder in (os.path.join(FIXTURES, "gguf"), options.out))
        adapter = f"{out}-adapter"
        for folder in (out, adapter):
            shutil.rmtree(folder, ignore_errors=True)
        train = ["train", "--model", f"{base}.gguf", "--data", options.text, "--out", adapter]
        tabtune(options.tabtune, *train, *ONE_STEP)
        merge = ["merge", "--model", f"{base}.gguf", "--adapter", adapter, "--strength", 0]
        tabtune(options.tabtune, *merge, "--type", "f32", "--out", out)
        known = load_file(f"{base}.safetensors")
        with torch.no_grad():
            found = load_base(out)(input_ids=known["ids"].long()).logits
        far = (found - known["logits"]).abs().max().item()
        checks.add(f"{name}: a checkpoint of a GGUF file", far <= LOGITS_TOLERANCE, f"max difference {far:.1e}")
        ids = Tokenizer.from_file(os.path.join(out, "tokenizer.json")).encode(TEXT).ids
        same = ids == known["text"].long().tolist() == AutoTokenizer.from_pretrained(out)(TEXT).input_ids
        checks.add(f"{name}: its tokenizer, alone and in transformers", same, f"{len(ids)} tokens")


def compare_package(checks, options):
    adapter = os.path.join(options.package, "adapter")
    for form, more in FORMS.items():
        given, out = (os.path.join(folder, form) for folder in (options.package, options.out))
        same_files(checks, f"the package, {form}", options.tabtune, options.base, adapter, given, more, out)


def compare_page(checks, options):
    """Also beside PEFT, as every other."""
    adapter, given = (os.path.join(options.out, name) for name in ("page-adapter", "page-merged"))
    for name, folder in (("adapter.zip", adapter), ("tabtune-merged.zip", given)):
        shutil.rmtree(folder, ignore_errors=True)
        with zipfile.ZipFile(os.path.join(options.page, name)) as archive:
            checks.add(f"{name}: its checksums", archive.testzip() is None, f"{len(archive.namelist())} files")
            archive.extractall(folder)
    out = os.path.join(options.out, "page")
    compare(checks, "the page", options.tabtune, options.base, adapter, out)
    same_files(checks, "the page", options.tabtune, options.base, adapter, given, [], out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabtune", required=True, help="the command line's program")
    parser.add_argument("--base", required=True, help="directory of the checkpoint the page ships")
    parser.add_argument("--text", required=True, help="a text to train on")
    parser.add_argument("--out", required=True, help="directory for the merged checkpoints")
    parser.add_argument("--package", required=True, help="directory that tests/package/merge.test.mjs leaves")
    parser.add_argument("--page", required=True, help="directory that tests/browser/merged.mjs leaves")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(options.out, exist_ok=True)
    checks = Checks()
    for case in CASES:
        adapter = os.path.join(FIXTURES, "cases", case)
        base = os.path.join(FIXTURES, "models", read_json(os.path.join(adapter, "case.json"))["model"])
        compare(checks, case, options.tabtune, base, adapter, os.path.join(options.out, case))
    compare_converted(checks, options)
    adapter = os.path.join(options.out, "adapter")
    first_adapter(load_base(options.base)).save_pretrained(adapter, save_embedding_layers=False)
    compare(checks, "base", options.tabtune, options.base, adapter, os.path.join(options.out, "base"))
    compare_package(checks, options)
    compare_page(checks, options)
    checks.close()


if __name__ == "__main__":
    main()
