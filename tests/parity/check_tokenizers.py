#!/usr/bin/env python3
"""Compares the ids of published tokenizers with those of Python's `tokenizers`, and how fast both find them.

    cargo build --example tokenize
    python tests/parity/check_tokenizers.py --tokenize target/debug/examples/tokenize --models ~/.cache/tabtune/models

Every folder in --models that holds a tokenizer.json is compared on the lines of tests/fixtures/text/lines.json, each by
itself, and on a text of 1 MB in one piece. Four tenths of that text are this repository's sample texts, documents,
sources and shaders; four tenths are words drawn from Unicode's scripts and symbols, emoji, numbers, contractions and
white space; the rest are the model's own special tokens and other added tokens between short words.
The last line is `N passed, N failed`.
"""

import argparse
import json
import random
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
SIZE = 1_000_000
SOURCES = ["www/public/samples/*.txt", "*.md", "docs/*.md", "src/**/*.rs", "shaders/**/*.wesl", "www/page/**/*.tsx"]
# The first and the last character of each run; unassigned characters are left out.
SCRIPTS = """
    61-7A 41-5A 61-7A 41-5A 61-7A E0-FF 100-17F 370-3FF 400-52F 531-58F 5D0-5EA 620-6D3 900-97F 980-9FF B80-BFF C00-C7F
    E01-E3A E80-EDF F00-FDA 1000-109F 10A0-10FF AC00-D7A3 3041-309F 30A0-30FF 4E00-9FA5 3105-312F 13A0-13FD 1780-17DD
    1820-1878 2090-209C 2160-2188 24B6-24E9 A722-A76F FB00-FB06 FE70-FEFC FF21-FF5A 10400-1044F 1D400-1D7CB 20000-200FF
    1F130-1F149
"""
MARKS = "\u0300\u0301\u0308\u0327\u0345\u05b0\u064b\u093c\u0e31\u200d\ufe0f\u20dd"
SYMBOLS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡«»–—‘’“”…†•‰€™←→∀∑√∞≈─█●☃✓「」、。！？￥\ufffd\u00ad\u200b\ufeff▁Ġ"
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧", "🏴‍☠️", "🇫🇷", "❤️", "1️⃣", "🫠", "🧑🏿‍🚀"]
ENDINGS = ["'s", "'t", "'re", "'VE", "'m", "'LL", "'d", "’s", "'ſ", "'x"]
SPACES = [" "] * 12 + ["  ", "   ", "\n", "\n\n", "\r\n", "\n \n", " \n", "\t", "\t\t"]
SPACES += ["\u00a0", "\u3000", "\u2009", "\x85", "\u2028"]
DIGITS = "0123456789٠١٢٣४५六½²Ⅷ①𝟙０"
CONTROLS = "\x00\x01\x07\x1b\x7f"


def repository(size):
    """This repository's texts one after the other, again from the start if they are too short."""
    files = sorted(path for pattern in SOURCES for path in ROOT.glob(pattern))
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return cut(text * (size // len(text.encode()) + 1), size)


def assigned(run):
    first, last = (int(end, 16) for end in run.split("-"))
    return [c for c in map(chr, range(first, last + 1)) if unicodedata.category(c) != "Cn"]


def generated(draw, size):
    scripts = [assigned(run) for run in SCRIPTS.split()]

    def word():
        letters = "".join(draw.choices(draw.choice(scripts), k=draw.randint(1, 9)))
        if draw.random() < 0.2:
            letters += draw.choice(MARKS) + draw.choice(letters)
        if draw.random() < 0.1:
            letters = letters.capitalize()
        return letters + (draw.choice(ENDINGS) if draw.random() < 0.1 else "")

    makers = [word] * 12 + [
        lambda: "".join(draw.choices("0123456789", k=draw.randint(1, 12))),
        lambda: "".join(draw.choices(DIGITS, k=draw.randint(1, 5))),
        lambda: "".join(draw.choices(SYMBOLS, k=draw.choice([1, 1, 1, 2, 3, 7]))),
        lambda: draw.choice(SYMBOLS) + word() + draw.choice(SYMBOLS) + draw.choice(["", "\n", "/", "\r\n/\n"]),
        lambda: draw.choice(EMOJI) * draw.choice([1, 1, 3]),
        lambda: draw.choice(SPACES) * draw.choice([1, 2, 5, 40]),
        lambda: draw.choice(CONTROLS) + word(),
        lambda: draw.choice("a.= ") * draw.choice([3, 16, 70]),
    ]
    pieces, found = [], 0
    while found < size:
        pieces += [draw.choice(makers)(), draw.choice(SPACES) if draw.random() < 0.8 else ""]
        found += len(pieces[-2].encode()) + len(pieces[-1].encode())
    return cut("".join(pieces), size)


def special(draw, tokenizer, size):
    """The model's added tokens among words, as they are and damaged."""
    names = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    between = ["", "", " ", "\n", "a", "The end", " of", ".\n", "  ", "<", "|>", "7"]
    pieces, found = [], 0
    while found < size:
        name = draw.choice(names)
        pieces += [name if draw.random() < 0.9 else name[draw.randint(0, 1) : -1], draw.choice(between)]
        found += len(pieces[-2].encode()) + len(pieces[-1].encode())
    return cut("".join(pieces), size)


def cut(text, size):
    return text.encode()[:size].decode(errors="ignore")


def difference(expected, found, text, tokenizer):
    """Where two lists of ids part, and the text around."""
    at = next((i for i, (a, b) in enumerate(zip(expected, found)) if a != b), min(len(expected), len(found)))
    around = slice(max(0, at - 3), at + 4)
    begin = tokenizer.encode(text, add_special_tokens=False).offsets[max(0, at - 3)][0] if expected else 0
    return f"id {at}: expected {expected[around]}, found {found[around]}, at {text[begin : begin + 40]!r}"


def check(program, folder, lines, shared, draw):
    begin = time.perf_counter()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    python_opened = time.perf_counter() - begin
    text = shared + special(draw, tokenizer, SIZE - len(shared.encode()))
    texts = [*lines, text]
    begin = time.perf_counter()
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    python_encoded = time.perf_counter() - begin

    done = subprocess.run([program, folder], input=json.dumps(texts), capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        return [f"{folder.name}: {done.stderr.strip()}"]
    found = json.loads(done.stdout)
    opened, encoded = map(float, done.stderr.split())
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(
        f"{folder.name:12} {sum(map(len, expected)):8} ids; opened in {opened:.2f} s (Python {python_opened:.2f} s), "
        f"{size / encoded:.2f} MB/s (Python {size / python_encoded:.2f})",
        flush=True,
    )
    pairs = zip(texts, expected, found)
    return [f"{folder.name}: {difference(a, b, text, tokenizer)}" for text, a, b in pairs if a != b]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenize", required=True, help="the example's program")
    parser.add_argument("--models", required=True, type=Path, help="a folder with one folder for each tokenizer")
    options = parser.parse_args()

    draw = random.Random(1)
    lines = json.loads((ROOT / "tests/fixtures/text/lines.json").read_text(encoding="utf-8"))["lines"]
    shared = repository(SIZE * 4 // 10) + generated(draw, SIZE * 4 // 10)
    folders = sorted(path.parent for path in options.models.glob("*/tokenizer.json"))
    failed = 0
    for folder in folders:
        differences = check(options.tokenize, folder, lines, shared, draw)
        failed += bool(differences)
        print(*differences[:5], sep="\n", end="\n" if differences else "", flush=True)
    print(f"{len(folders) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not folders)


if __name__ == "__main__":
    main()
