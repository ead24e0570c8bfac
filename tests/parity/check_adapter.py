#!/usr/bin/env python3
"""Loads an adapter that the page or the command line wrote into PEFT, and compares the logits with the engine's own.

    python tests/parity/check_adapter.py --base www/public/base --adapter DIR_OR_ZIP --probe probe.json

probe.json is `{"ids": [...], "logits": [...]}`: token ids, and the logits the engine computed with the adapter at
strength 1; either one row of V numbers, for the last position, or rows for the last positions. The adapter is a folder
or a zip with adapter_config.json and adapter_model.safetensors. The last line is `N passed, N failed`.
"""

import argparse
import os
import sys
import tempfile
import zipfile

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file

from recipe import load_base, read_json

# F32 on both sides: what is left is the order of additions, about 1e-5 on logits of this size.
LOGITS_TOLERANCE = 1e-3
# Less than this, and the adapter is as good as absent.
LEAST_EFFECT = 1e-4

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Checks:
    """Counts what held and what did not, and says so line by line."""

    def __init__(self):
        self.passed = self.failed = 0

    def add(self, name, held, detail):
        self.passed, self.failed = self.passed + bool(held), self.failed + (not held)
        print(f"{'ok    ' if held else 'FAILED'} {name}: {detail}", flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)


def unpacked(adapter, scratch):
    """The folder with the adapter's two files, wherever in the zip or folder it is."""
    if os.path.isfile(adapter):
        with zipfile.ZipFile(adapter) as archive:
            archive.extractall(scratch)
        adapter = scratch
    for folder, _, files in os.walk(adapter):
        if CONFIG in files and WEIGHTS in files:
            return folder
    raise SystemExit(f"{adapter}: no {CONFIG} and {WEIGHTS} beside each other")


def check_tensors(checks, model, folder):
    """PEFT only warns about keys it does not know, so what it holds is compared with the file."""
    written = load_file(os.path.join(folder, WEIGHTS))
    held = get_peft_model_state_dict(model, save_embedding_layers=False)
    unexpected, missing = sorted(written.keys() - held.keys()), sorted(held.keys() - written.keys())
    checks.add(
        "PEFT knows every tensor of the file", not unexpected, f"{len(written)} tensors, unexpected {unexpected[:3]}"
    )
    checks.add(
        "the file has every tensor PEFT expects", held and not missing, f"{len(held)} tensors, missing {missing[:3]}"
    )
    different = [
        key for key in written.keys() & held.keys() if not torch.equal(written[key].float(), held[key].float())
    ]
    checks.add("PEFT holds what the file says", not different, f"different {sorted(different)[:3]}")
    rank = read_json(os.path.join(folder, CONFIG))["r"]
    ranks = {min(value.shape) for value in written.values()}
    checks.add("the rank of the tensors is the configured one", ranks == {rank}, f"{sorted(ranks)}, configured {rank}")


def check_logits(checks, model, probe):
    ids = torch.tensor([probe["ids"]])
    engine = torch.tensor(probe["logits"], dtype=torch.float32)
    engine = engine.reshape(-1, engine.shape[-1])
    with torch.no_grad():
        tuned = model(input_ids=ids).logits[0, -len(engine) :]
        with model.disable_adapter():
            base = model(input_ids=ids).logits[0, -len(engine) :]
    effect = (tuned - base).abs().max().item()
    checks.add("the adapter changes the logits", effect > LEAST_EFFECT, f"by at most {effect:.3g}")
    if engine.shape != tuned.shape:
        checks.add("the logits are the engine's", False, f"PEFT {list(tuned.shape)}, the engine {list(engine.shape)}")
        return
    far = (tuned - engine).abs()
    row, column = divmod(far.argmax().item(), far.shape[1])
    largest = far.max().item()
    checks.add(
        "the logits are the engine's",
        largest <= LOGITS_TOLERANCE,
        f"max difference {largest:.3g} at [{row}, {column}]: "
        f"PEFT {tuned[row, column]:.6f}, the engine {engine[row, column]:.6f}",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="directory of the Hugging Face checkpoint")
    parser.add_argument("--adapter", required=True, help="folder or zip")
    parser.add_argument("--probe", required=True, help="JSON with ids and logits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    checks = Checks()
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpacked(options.adapter, scratch)
        model = PeftModel.from_pretrained(load_base(options.base), folder).eval()
        check_tensors(checks, model, folder)
        check_logits(checks, model, read_json(options.probe))
    checks.close()


if __name__ == "__main__":
    main()
