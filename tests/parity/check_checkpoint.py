#!/usr/bin/env python3
"""Loads a model that the page trained fully into transformers, and compares it with the engine's own numbers.

    python tests/parity/check_checkpoint.py --base www/public/base --data www/public/samples/captain.txt \\
        --model artefacts/full_job/tabtune-model.zip --probe artefacts/full_job/probe.json

probe.json is what `tests/browser/full.mjs` leaves: token ids and their logits, and the loss on the held-out rows, which
are the last ones of the text. The last line is `N passed, N failed`.
"""

import argparse
import os
import tempfile
import zipfile

import torch

from check_adapter import LEAST_EFFECT, LOGITS_TOLERANCE, Checks
from recipe import held_out_rows, ids_of, load_base, mean_loss, read_json, rows_of

SEQ_LEN, HOLDOUT, BATCH = 32, 0.1, 8


def check_numbers(checks, base, model, parameters):
    """Only the matrices of the layers may differ from the base's, and all of them do."""
    changed = {name: value for name, value in model.items() if not torch.equal(value, base[name])}
    layers = {name for name in base if name.endswith("_proj.weight")}
    checks.add("the files hold the same tensors", model.keys() == base.keys(), f"{len(model)} tensors")
    checks.add("the matrices of the layers changed, and nothing else", changed.keys() == layers, f"{len(changed)}")
    count = sum(value.numel() for value in changed.values())
    checks.add("as many as the page says", count == parameters, f"{count}, the page says {parameters}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "data", "model", "probe"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    checks = Checks()
    probe = read_json(options.probe)
    base = load_base(options.base)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(options.model) as archive:
            archive.extractall(folder)
        model = load_base(folder)
        inputs, targets = rows_of(ids_of(folder, options.data), SEQ_LEN)
        size = os.path.getsize(os.path.join(folder, "model.safetensors"))
    checks.add("the weights are there in float32", size > 4 * probe["parameters"], f"{size} bytes")
    check_numbers(checks, dict(base.named_parameters()), dict(model.named_parameters()), probe["parameters"])

    ids, engine = torch.tensor([probe["ids"]]), torch.tensor(probe["logits"]).reshape(len(probe["ids"]), -1)
    with torch.no_grad():
        tuned, plain = model(input_ids=ids).logits[0], base(input_ids=ids).logits[0]
    effect, far = (tuned - plain).abs().max().item(), (tuned - engine).abs().max().item()
    checks.add("training changed the logits", effect > LEAST_EFFECT, f"by at most {effect:.3g}")
    checks.add("the logits are the engine's", far <= LOGITS_TOLERANCE, f"max difference {far:.3g}")

    count = held_out_rows(len(inputs), HOLDOUT)
    loss = mean_loss(model, inputs[-count:], targets[-count:], BATCH)
    checks.add(
        "the held-out loss is the page's",
        abs(loss / probe["loss"] - 1) <= 1e-5,
        f"{loss:.6f}, the page {probe['loss']:.6f} at step {probe['step']}",
    )
    checks.close()


if __name__ == "__main__":
    main()
