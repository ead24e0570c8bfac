#!/usr/bin/env python3
"""Checks the sample texts of the page: www/public/samples/index.json and the files it names.

A sample must be short enough to train in a minute and long enough to hold rows back, and its
held-out tail must be new to the adapter: a falling held-out loss then shows a learnt voice and
not a remembered sentence. Needs nothing but Python's standard library.

    python3 tests/parity/check_samples.py [--break]

`--break` spoils a copy of every text in memory, one way per rule, and expects each rule to see it.
"""

import json
import re
import sys
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "www" / "public" / "samples"
KEYS = {"id", "title", "about", "quote", "prompt", "file", "bytes"}
MIN_BYTES, MAX_BYTES = 10_000, 30_000
# The run holds back the last tenth of the rows; rows end between words, so a wider tail is checked.
TAIL = 0.15
RUN = 8


def words(text):
    """The words of a text in lower case, without punctuation; a number such as 29.8 is one word."""
    return re.findall(r"\w+(?:[.'’]\w+)*", text.lower())


def sentences(text):
    """Every sentence and every line, each as a tuple of its words.

    A line counts too, because headings, labels and verses end without a full stop."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        parts = re.split(r"(?<=[.!?])\s+", " ".join(lines))
        inside = [part for line in lines for part in re.split(r"(?<=[.!?])\s+", line)]
        # A sentence that is also a line is one sentence, so it is taken once per paragraph.
        found += [tuple(words(part)) for part in parts]
        found += [tuple(words(part)) for part in inside if part not in parts]
    return [sentence for sentence in found if sentence]


def repeated_sentences(text):
    seen, repeated = set(), []
    for sentence in sentences(text):
        if sentence in seen:
            repeated.append(" ".join(sentence))
        seen.add(sentence)
    return repeated


def shared_runs(text):
    """Runs of RUN words that the tail shares with what comes before it."""
    cut = int(len(text) * (1 - TAIL))
    head, tail = words(text[:cut]), words(text[cut:])
    known = {tuple(head[i : i + RUN]) for i in range(len(head) - RUN + 1)}
    runs = (tuple(tail[i : i + RUN]) for i in range(len(tail) - RUN + 1))
    return [" ".join(run) for run in runs if run in known]


def size_is_right(data):
    return MIN_BYTES <= len(data) <= MAX_BYTES


def is_plain_text(data):
    """UTF-8 without a byte order mark or carriage returns, ended by one newline."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return text[:1] != "\ufeff" and "\r" not in text and text.endswith("\n") and not text.endswith("\n\n")


def check_index(index):
    """Pairs of (what is claimed, problems found) about the index itself."""
    yield "index names three samples", [] if len(index) == 3 else [f"{len(index)} samples"]
    for sample in index:
        name = sample.get("id", "?")
        wrong = sorted(KEYS ^ set(sample))
        yield f"{name}: index entry has the expected keys", wrong
        if wrong:
            continue
        data = (SAMPLES / sample["file"]).read_bytes()
        size = [] if sample["bytes"] == len(data) else [f"index {sample['bytes']}, file {len(data)}"]
        yield f"{name}: index gives the file's size", size
        quote = [] if sample["quote"] in data.decode("utf-8", "replace") else [sample["quote"]]
        yield f"{name}: the quote is in the text", quote


def check_text(name, data):
    text = data.decode("utf-8", "replace")
    size = [] if size_is_right(data) else [f"{len(data)} bytes"]
    yield f"{name}: {MIN_BYTES} to {MAX_BYTES} bytes", size
    yield f"{name}: plain UTF-8 text", [] if is_plain_text(data) else ["encoding or line ends"]
    yield f"{name}: no sentence occurs twice", repeated_sentences(text)
    yield f"{name}: the last {TAIL:.0%} shares no run of {RUN} words with the rest", shared_runs(text)


def check_broken(name, data):
    """The same rules on spoiled copies: a rule passes here when it finds something."""
    text = data.decode("utf-8")
    longest = max(re.findall(r"[^\n]+", text[: len(text) // 2]), key=len)
    spoiled = {
        "a short text": [] if size_is_right(data[: MIN_BYTES - 1]) else ["seen"],
        "a broken character": [] if is_plain_text(data + b"\xff\n") else ["seen"],
        "a repeated sentence": repeated_sentences(text + longest + "\n"),
        "a shared run": shared_runs(text + " ".join(longest.split()) + "\n"),
    }
    for what, seen in spoiled.items():
        yield f"{name}: {what} is seen", [] if seen else ["not seen"]


def main():
    index = json.loads((SAMPLES / "index.json").read_text("utf-8"))
    results = list(check_index(index))
    for path in sorted(SAMPLES.glob("*.txt")):
        data = path.read_bytes()
        results += check_broken(path.stem, data) if "--break" in sys.argv else check_text(path.stem, data)
    for claim, problems in results:
        if problems:
            print(f"FAILED {claim}")
            for problem in problems[:20]:
                print(f"    {problem}")
    failed = sum(1 for _, problems in results if problems)
    print(f"{len(results) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
