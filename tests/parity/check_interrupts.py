#!/usr/bin/env python3
"""Runs that are stopped or killed can be resumed as if nothing had happened.

A run is stopped with SIGINT and resumed; another is killed (SIGKILL) at random moments, again and again, and resumed
each time. Every file it leaves must be readable at each of these moments, and the losses of all steps must be those of
a run that nobody interrupted, bit for bit.

    check_interrupts.py --tabtune target/debug/tabtune --data www/public/samples/captain.txt \\
        --out artefacts/interrupts [--kills 3] [--seed 0]
"""

import argparse
import json
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

FLAGS = [
    "--rank",
    2,
    "--targets",
    "q_proj,v_proj",
    "--batch",
    2,
    "--seq-len",
    32,
    "--eval-every",
    20,
    "--dropout",
    0.1,
    "--seed",
    5,
    "--weights",
    "f16",
]

# A killed run gets about ten steps further each time, and its start takes some seconds.
STEPS_PER_KILL, LONGEST_LIFE = 13, 6

RUN_STATE = "run_state.safetensors"

passed = failed = 0


def steps(args) -> int:
    return max(40, STEPS_PER_KILL * args.kills)


def check(name: str, good: bool, found: object = "") -> None:
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    print(f"{'ok' if good else 'FAILED'}: {name} {found}", flush=True)


def command(args, out: Path, log: Path, resume: bool) -> list[str]:
    words = [args.tabtune, "train", "--data", args.data, "--out", out, "--log", log, "--save-every", 0]
    words += ["--resume", out] if resume else ["--steps", steps(args), *FLAGS]
    return [str(word) for word in words]


def events(log: Path) -> list[dict]:
    """The last line of a killed run may be cut short."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [json.loads(line) for line in lines]


def losses(log: Path) -> list[tuple]:
    return [(e["step"], e["loss"], e["gradNorm"]) for e in events(log) if e["type"] == "step"]


def whole(path: Path) -> bool:
    """A safetensors file as long as its header says."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return len(data) == 8 + struct.unpack("<Q", data[:8])[0] + max(ends)


def readable(out: Path) -> bool:
    return all(whole(path) for path in out.glob("*.safetensors")) and all(
        json.loads(path.read_text()) for path in out.glob("*.json")
    )


def run(args, name: str, resume: bool = False, end=None) -> tuple[Path, Path, int]:
    """Starts a run; `end(process, log)` may end it early."""
    out, log = Path(args.out) / name, Path(args.out) / f"{name}.jsonl"
    process = subprocess.Popen(command(args, out, log, resume), stderr=subprocess.DEVNULL)
    if end:
        end(process, log)
    return out, log, process.wait()


def at_step(step: int, number: int):
    def end(process, log):
        while process.poll() is None and len(losses(log)) < step:
            time.sleep(0.02)
        process.send_signal(number)

    return end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tabtune", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    Path(args.out).mkdir(parents=True)
    dice = random.Random(args.seed)

    begun = time.time()
    out, log, status = run(args, "untouched")
    lasting = time.time() - begun
    expected = losses(log)
    check(
        "a run that nobody touches ends well",
        status == 0 and len(expected) == steps(args),
        f"status {status}, {len(expected)} steps, {lasting:.1f} s",
    )
    check("it leaves no run state", not (out / RUN_STATE).exists())
    adapter = (out / "adapter_model.safetensors").read_bytes()

    out, log, status = run(args, "stopped", end=at_step(9, signal.SIGINT))
    done = len(losses(log))
    check(
        "SIGINT stops within two steps and keeps the adapter",
        status == 0 and done <= 12 and (out / "adapter_model.safetensors").exists(),
        f"status {status}, {done} steps",
    )
    check("the log says so", events(log)[-1].get("reason") == "stopped", events(log)[-1])
    other = subprocess.run([*command(args, out, log, resume=True), "--weights", "f32"], capture_output=True, text=True)
    check(
        "other weights are refused, and the log stays",
        other.returncode == 2 and len(losses(log)) == done,
        other.stderr.splitlines()[-1:],
    )
    out, log, status = run(args, "stopped", resume=True)
    check("resumed, its losses are those of the untouched run", status == 0 and losses(log) == expected)
    check("and so is its adapter, byte for byte", (out / "adapter_model.safetensors").read_bytes() == adapter)

    kills, resume, status = 0, False, None
    while kills < args.kills:
        delay = dice.uniform(0.2, min(LONGEST_LIFE, lasting * 0.6))

        def kill(process, log, delay=delay):
            time.sleep(delay)
            process.kill()

        before = losses(Path(args.out) / "killed.jsonl")
        out, log, status = run(args, "killed", resume=resume, end=kill)
        if status == 0:
            break
        kills += 1
        good = readable(out) if out.exists() else True
        check(
            f"killed after {delay:.2f} s: every file is readable",
            good,
            f"{len(before)} steps before, {len(losses(log))} now",
        )
        resume = (out / RUN_STATE).exists()
    if status != 0:
        out, log, status = run(args, "killed", resume=resume)
    check(f"killed {kills} times, its losses are those of the untouched run", status == 0 and losses(log) == expected)
    check("and so is its adapter, byte for byte", (out / "adapter_model.safetensors").read_bytes() == adapter)
    print(f"{passed} passed, {failed} failed")
    raise SystemExit(failed > 0)


main()
