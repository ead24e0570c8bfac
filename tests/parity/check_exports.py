#!/usr/bin/env python3
"""Has the programs themselves read what is exported for them: adapters and checkpoints in llama.cpp, adapters in MLX.

    cargo build && python tests/parity/check_exports.py --tabtune target/debug/tabtune --base www/public/base \\
        --text www/public/samples/captain.txt --out artefacts/exports [--gguf SmolLM2.gguf]

- Every adapter of tests/fixtures, which PEFT wrote, as MLX's files: logits of mlx_lm beside PEFT's.
- The layout of GGUF adapters beside llama.cpp's own library, and Q8_0 beside its quantiser.
- Tiny models of the families whose files have a layout or a tokenizer of their own: logits and numbers of
  tokens in llama.cpp beside those of transformers.
- On the base the page ships, and on SmolLM2 if its file is given: a short run; the base as a GGUF file in f32, because
  llama.cpp rounds activations where a base is quantised, and the adapter as another; the greedy continuation of
  llama.cpp beside ours, with the adapter, without it, and merged.
The last line is `N passed, N failed`.
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np
import torch
import xllamacpp
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model
from peft import PeftModel
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch
from tokenizers import Tokenizer

from check_adapter import Checks
from recipe import load_base, read_json

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "fixtures")
LOGITS_TOLERANCE = 1e-3
# As long as the windows of the small models, which mlx_lm does not compute.
LENGTH = 5
TOKENS = 20
# Nats within which two programs may take another token, and within which llama.cpp's tables in f16 leave its numbers.
TIE = 0.01
PROMPTS = ["The harbour was quiet that morning, and", "12 May, Monday. Wind", "Once upon a time"]
STEPS = ["--steps", "12", "--lr", "2e-2", "--seq-len", "48", "--batch", "2", "--seed", "3"]
TINY_STEPS = ["--steps", "3", "--lr", "5e-2", "--seq-len", "32", "--batch", "2", "--holdout", "0"]
FEW_STEPS = ["--steps", "4", "--lr", "5e-3", "--seq-len", "48", "--batch", "1", "--holdout", "0"]
# Models that mlx_lm 0.32 cannot load or does not compute as transformers does, adapter or not: a Gemma of fewer layers
# than its pattern has, a GPT-2 with a head of its own, yarn, and a Qwen3 with biases.
NOT_IN_MLX = {"gemma3-wide-head", "gpt2-odd-c-proj", "llama-yarn", "qwen3"}


def tabtune(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        command, said = " ".join(map(str, arguments)), done.stderr.decode()
        raise SystemExit(f"`tabtune {command}` ended with {done.returncode}:\n{said}")
    # As it is: text mode would make a newline of a carriage return.
    return done.stdout.decode()


def export(options, adapter, base, form, out):
    shutil.rmtree(out, ignore_errors=True)
    tabtune(options.tabtune, "export", "--adapter", adapter, "--model", base, "--format", form, "--out", out)
    return out


def far(found, expected):
    return np.abs(np.asarray(found, dtype=np.float64) - expected).max()


def compare_mlx(checks, options, case):
    """The base in MLX must agree first; then what the adapter changes must."""
    folder = os.path.join(FIXTURES, "cases", case)
    base = os.path.join(FIXTURES, "models", read_json(os.path.join(folder, "case.json"))["model"])
    ids = torch.randint(0, read_json(os.path.join(base, "config.json"))["vocab_size"], (2, LENGTH))
    model = load_base(base)
    with torch.no_grad():
        plain = model(input_ids=ids).logits.numpy()
        tuned = PeftModel.from_pretrained(model, folder).eval()(input_ids=ids).logits.numpy()
    theirs, _ = load_model(mlx_base(base, os.path.join(options.out, "mlx-base")))
    tokens = mx.array(ids.numpy())
    before = far(theirs(tokens), plain)
    if before > LOGITS_TOLERANCE:
        checks.add(f"{case}: the base in MLX", False, f"max difference {before:.1e} without any adapter")
        return
    with_adapter = load_adapters(theirs, export(options, folder, base, "mlx", os.path.join(options.out, "mlx")))
    with_adapter.eval()
    after, effect = far(with_adapter(tokens), tuned), far(tuned, plain)
    checks.add(
        f"{case}: logits of MLX", after <= LOGITS_TOLERANCE < effect, f"max difference {after:.1e}, effect {effect:.2g}"
    )


def mlx_base(base, out):
    """The checkpoint as published ones are: config.json with the older names, which mlx_lm reads, and a GPT-2 without
    the prefix. In f32, so that MLX computes in it."""
    config = read_json(os.path.join(base, "config.json"))
    rope = config.pop("rope_parameters", None) or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
        if rope.get("rope_type", "default") != "default":
            config["rope_scaling"] = {**rope, "type": rope["rope_type"]}
    tensors = load_torch(os.path.join(base, "model.safetensors"))
    wide = {name.removeprefix("transformer."): values.float().contiguous() for name, values in tensors.items()}
    os.makedirs(out, exist_ok=True)
    save_torch(wide, os.path.join(out, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    return Path(out)


def compare_layout(checks, options):
    """What gguf-py reads in an adapter is what PEFT wrote, with the rows of q and k as the converter permutes them."""
    folder, base = (os.path.join(FIXTURES, *it) for it in (("cases", "llama-all-linear"), ("models", "llama")))
    out = os.path.join(options.out, "layout.gguf")
    if os.path.exists(out):
        os.remove(out)
    tabtune(options.tabtune, "export", "--adapter", folder, "--model", base, "--format", "gguf", "--out", out)
    reader = gguf.GGUFReader(out)
    config = read_json(os.path.join(base, "config.json"))
    own = load_file(os.path.join(folder, "adapter_model.safetensors"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    expected = {}
    for key, values in own.items():
        module, _, which = key.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
        last = module.rsplit(".", 1)[-1]
        if which == "B" and last in heads:
            values = values.reshape(heads[last], 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        expected[f"{names.get_name(module)}.weight.lora_{which.lower()}"] = values
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    same = found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)
    checks.add("the tensors of a GGUF adapter, in gguf-py", same, f"{len(found)} tensors")
    facts = {key: reader.fields[key].contents() for key in ("general.type", "adapter.type", "general.architecture")}
    checks.add("its metadata", list(facts.values()) == ["adapter", "lora", "llama"], facts)


def compare_blocks(checks, options, base):
    """Matrices in Q8_0 are the blocks of llama.cpp's own quantiser."""
    wide, narrow = (os.path.join(options.out, f"blocks-{kind}.gguf") for kind in ("f32", "q8_0"))
    for kind, path in (("f32", wide), ("q8_0", narrow)):
        tabtune(options.tabtune, "merge", "--model", base, "--out", path, "--type", kind)
    numbers = {tensor.name: tensor for tensor in gguf.GGUFReader(wide).tensors}
    kinds, differ = set(), []
    for tensor in gguf.GGUFReader(narrow).tensors:
        kinds.add(tensor.tensor_type.name)
        own = gguf.quants.quantize(numbers[tensor.name].data, tensor.tensor_type)
        if not np.array_equal(own.view(np.uint8), tensor.data.view(np.uint8)):
            differ.append(tensor.name)
    checks.add("Q8_0 and F16 of the base, in gguf-py", not differ and "Q8_0" in kinds, f"{kinds}, differ: {differ}")


def served(model, adapter=None):
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.n_gpu_layers = model, 256, 1, False, 0
    # With more threads than free cores, llama.cpp spins.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
    return xllamacpp.Server(params)


def continued(model, prompt, adapter=None):
    server = served(model, adapter)
    answer = server.handle_completions({"prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "logprobs": 5})
    choice = answer["choices"][0]
    return choice["text"], choice["logprobs"]["content"]


def same_until_a_tie(ours, theirs, tokens):
    """Whether two texts are the same, or part at a token that llama.cpp finds as likely as its own."""
    if ours == theirs:
        return True
    text = ""
    for token in tokens:
        if not ours.startswith(text + token["token"]):
            near = [one for one in token["top_logprobs"] if token["logprob"] - one["logprob"] < TIE]
            return any(ours.startswith(text + one["token"]) for one in near)
        text += token["token"]
    return False


def compare_text(checks, options, label, base, steps):
    """`base` is None for the embedded one."""
    model = ["--model", base] if base else []
    path = lambda name: os.path.join(options.out, f"{label}-{name}")
    wide, adapter, lora, merged = path("base.gguf"), path("adapter"), path("lora.gguf"), path("merged.gguf")
    shutil.rmtree(adapter, ignore_errors=True)
    device = ["--device", "cpu"]
    tabtune(options.tabtune, "train", *model, "--data", options.text, "--out", adapter, *steps, *device)
    tabtune(options.tabtune, "merge", *model, "--out", wide, "--type", "f32")
    tabtune(options.tabtune, "merge", *model, "--adapter", adapter, "--out", merged, "--type", "f32")
    tabtune(options.tabtune, "export", *model, "--adapter", adapter, "--format", "gguf", "--out", lora)
    effect = 0
    for prompt in PROMPTS:
        ask = ["generate", "--prompt", prompt, "--temperature", 0, "--max-tokens", TOKENS, "--weights", "f32", *device]
        plain = tabtune(options.tabtune, *ask, *model)
        tuned = tabtune(options.tabtune, *ask, *model, "--adapter", adapter)
        effect += plain != tuned
        for what, ours, theirs in (
            ("the base", plain, continued(wide, prompt)),
            ("the adapter", tuned, continued(wide, prompt, lora)),
            ("merged", tuned, continued(merged, prompt)),
        ):
            text, tokens = theirs
            same = same_until_a_tie(ours, text, tokens)
            checks.add(f"{label}, {what}: {TOKENS} tokens of llama.cpp after {prompt!r}", same, repr(text))
            if ours != text:
                print(f"       ours: {ours!r}")
    checks.add(f"{label}: the adapter does something", effect > 0, f"in {effect} of {len(PROMPTS)} prompts")


def compare_tiny(checks, options, name):
    """A random model of tests/fixtures as a GGUF file that we wrote, in llama.cpp, beside transformers with a
    checkpoint that we made of it."""
    path = lambda what: os.path.join(options.out, f"tiny-{what}")
    adapter, checkpoint, written = path("adapter"), path("checkpoint"), path("model.gguf")
    for folder in (adapter, checkpoint):
        shutil.rmtree(folder, ignore_errors=True)
    base = ["--model", os.path.join(FIXTURES, "gguf", f"{name}.gguf")]
    tabtune(options.tabtune, "train", *base, "--data", options.text, "--out", adapter, *TINY_STEPS, "--device", "cpu")
    tabtune(options.tabtune, "merge", *base, "--adapter", adapter, "--out", checkpoint, "--type", "f32")
    config = read_json(os.path.join(checkpoint, "config.json"))
    if name == "phi3":
        # llama.cpp ignores the window.
        with open(os.path.join(checkpoint, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config | {"sliding_window": None}, file)
    tabtune(options.tabtune, "merge", "--model", checkpoint, "--out", written, "--type", "f32")
    model, tokenizer = load_base(checkpoint), Tokenizer.from_file(os.path.join(checkpoint, "tokenizer.json"))
    server = served(written)
    far, read, compared = 0.0, 0, 0
    words = " ".join(PROMPTS).split()
    prompts = [" ".join(words[:count]) for count in range(1, len(words) + 1)]
    prompts += ["<|im_start|>\n The tide<|im_end|>  \nboat", "naïve – «boat»  \n\n 👍🏽 </s> the"]
    for prompt in prompts:
        ids = tokenizer.encode(prompt).ids
        answer = server.handle_completions({"prompt": prompt, "max_tokens": 1, "logprobs": 5, "verbose": True})
        read += answer["usage"]["prompt_tokens"] == len(ids)
        # There are none where the token is a part of a character.
        likely = answer["__verbose"].get("completion_probabilities") or [{"top_logprobs": []}]
        with torch.no_grad():
            expected = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, -1], -1)
        for token in likely[0]["top_logprobs"]:
            far, compared = max(far, abs(token["logprob"] - expected[token["id"]].item())), compared + 1
    checks.add(f"{name}: tokens of {len(prompts)} prompts in llama.cpp", read == len(prompts), f"as many in {read}")
    checks.add(f"{name}: logits of llama.cpp", compared > 20 and far < TIE, f"{compared}, at most {far:.1e} nats apart")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabtune", required=True, help="the command line's program")
    parser.add_argument("--base", required=True, help="directory of the checkpoint the page ships")
    parser.add_argument("--text", required=True, help="a text to train on")
    parser.add_argument("--out", required=True, help="directory for what is exported")
    parser.add_argument("--gguf", help="SmolLM2-135M-Instruct as a GGUF file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    mx.set_default_device(mx.cpu)
    os.makedirs(options.out, exist_ok=True)
    checks = Checks()
    for case in sorted(os.listdir(os.path.join(FIXTURES, "cases"))):
        if case not in NOT_IN_MLX:
            compare_mlx(checks, options, case)
    compare_layout(checks, options)
    compare_blocks(checks, options, options.base)
    compare_text(checks, options, "built-in", None, STEPS)
    for name in ("llama", "gpt2", "gemma3", "phi3"):
        compare_tiny(checks, options, name)
    if options.gguf:
        compare_text(checks, options, "smollm2", options.gguf, FEW_STEPS)
    checks.close()


if __name__ == "__main__":
    main()
