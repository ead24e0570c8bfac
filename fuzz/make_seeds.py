#!/usr/bin/env python3
"""Writes the seeds of the fuzzers: small files of every shape that is read.

Each of them must be accepted (tests/suite/fuzz.rs).
"""

import json
import pathlib
import shutil
import struct

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "tests/fixtures"


def seed(target, name, data):
    path = HERE / "seeds" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(tensors, metadata=None):
    """tensors: (name, dtype, shape, data)."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, dtype, shape, part in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def f32(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


def f16(*numbers):
    return struct.pack(f"<{len(numbers)}e", *numbers)


def seed_safetensors():
    seed("safetensors", "empty", safetensors([]))
    seed("safetensors", "metadata", safetensors([], {"format": "pt", "é": "\n"}))
    types = [
        ("a", "F32", [1, 2], f32(1, -2)),
        ("b", "F16", [3], f16(1, 2, 3)),
        ("c.weight", "BF16", [], b"\x80\x3f"),
        ("d", "F32", [0, 7], b""),
    ]
    seed("safetensors", "types", safetensors(types, {"format": "pt"}))
    claimed = {"a": {"dtype": "BF16", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 41]}}
    text = json.dumps(claimed).encode()
    # Not a file: the length of one of two terabytes, and its header.
    seed("safetensors", "terabytes", struct.pack("<Q", 8 + len(text) + (1 << 41)) + text)


def seed_gguf():
    def word(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    def words(*texts):
        return struct.pack("<IQ", 8, len(texts)) + b"".join(map(word, texts))

    def file(fields, tensors):
        """fields: (key, type, bytes); tensors: (name, shape, type, bytes)."""
        table, data = b"", b""
        for name, shape, kind, part in tensors:
            data += b"\0" * (-len(data) % 32)
            dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
            table += word(name) + dims + struct.pack("<IQ", kind, len(data))
            data += part
        metadata = b"".join(word(key) + struct.pack("<I", kind) + value for key, kind, value in fields)
        begin = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + metadata + table
        return begin + b"\0" * (-len(begin) % 32) + data

    def model(pre, linear, block, cols, more=(), arch="llama"):
        """Without `pre`, a tokenizer of SentencePiece."""
        is_gpt = arch == "gpt2"
        count = lambda key, n: (f"{arch}.{key}", 4, struct.pack("<I", n))
        fields = [
            ("general.architecture", 8, word(arch)),
            count("attention.head_count", 1),
            *(count(key, cols) for key in ("embedding_length", "feed_forward_length")),
            *(count(key, n) for key, n in (("block_count", 1), ("context_length", 8))),
            (f"{arch}.attention.layer_norm_{'' if is_gpt else 'rms_'}epsilon", 6, f32(1e-5)),
            ("tokenizer.ggml.model", 8, word("gpt2" if pre else "llama")),
            ("tokenizer.ggml.tokens", 9, words("a", "b", "ab", "<e>")),
            ("tokenizer.ggml.token_type", 9, struct.pack("<IQ4i", 5, 4, 1, 1, 1, 3)),
            ("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 3)),
            ("tokenizer.ggml.bos_token_id", 4, struct.pack("<I", 3)),
            ("tokenizer.chat_template", 8, word("{{ messages }}")),
            *more,
        ]
        if not is_gpt:
            fields += [count("attention.head_count_kv", 1), count("attention.key_length", cols)]
        if pre:
            fields += [("tokenizer.ggml.pre", 8, word(pre)), ("tokenizer.ggml.merges", 9, words("a b"))]
        else:
            fields.append(("tokenizer.ggml.scores", 9, struct.pack("<IQ4f", 6, 4, -3, -2, -1, 0)))
        matrix = lambda rows: ([rows, cols], linear, b"\x11" * (rows * cols // block[0] * block[1]))
        vector = lambda n: ([n], 0, f32(*[1] * n))
        linears = {"attn_output": 1, "ffn_up": 1, "ffn_down": 1}
        linears |= {"attn_qkv": 3} if is_gpt else {"attn_q": 1, "attn_k": 1, "attn_v": 1, "ffn_gate": 1}
        norms = ["attn_norm", "ffn_norm"]
        if arch == "gemma3":
            norms += ["attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm"]
        tensors = [("token_embd.weight", *matrix(4)), ("output_norm.weight", *vector(cols))]
        tensors += [(f"blk.0.{name}.weight", *vector(cols)) for name in norms]
        tensors += [(f"blk.0.{name}.weight", *matrix(n * cols)) for name, n in linears.items()]
        if is_gpt:
            sizes = {**linears, "attn_norm": 1, "ffn_norm": 1}
            tensors += [(f"blk.0.{name}.bias", *vector(n * cols)) for name, n in sizes.items()]
            tensors += [("output_norm.bias", *vector(cols))]
            tensors += [("position_embd.weight", [8, cols], 0, f32(*[1] * 8 * cols))]
        return file(fields, tensors)

    alignment = ("general.alignment", 4, struct.pack("<I", 32))
    seed("gguf", "f32", model("smollm", 0, (1, 4), 4, [alignment]))
    seed("gguf", "f16", model("qwen2", 1, (1, 2), 4, [("general.type", 8, word("model"))]))
    every = struct.pack("<IQ2d", 12, 2, 1, 2)
    seed("gguf", "q8_0", model("llama-bpe", 8, (32, 34), 32, [("list", 9, every), ("flag", 7, b"\1")]))
    seed("gguf", "q4_1", model("smollm", 3, (32, 20), 32))
    seed("gguf", "pieces", model(None, 0, (1, 4), 4, [("tokenizer.ggml.add_space_prefix", 7, b"\0")]))
    scaled = [("gemma3.rope.scaling.type", 8, word("linear")), ("gemma3.rope.scaling.factor", 6, f32(8))]
    window = ("gemma3.attention.sliding_window", 4, struct.pack("<I", 2))
    seed("gguf", "gemma3", model(None, 0, (1, 4), 4, [window, *scaled], "gemma3"))
    seed("gguf", "gpt2", model("gpt-2", 0, (1, 4), 4, arch="gpt2"))


def seed_shards():
    places = {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}
    seed("shards", "two", json.dumps({"metadata": {"total_size": 24}, "weight_map": places}, indent=2))
    seed("shards", "one", json.dumps({"weight_map": {"z": "b.safetensors"}}))
    seed("shards", "wrong-size", json.dumps({"weight_map": places, "metadata": {"total_size": 7.5}, "x": None}))


def seed_config():
    llamas = ["llama", "llama-llama3", "llama-odd", "llama-tied", "llama-wide-head", "llama-yarn"]
    for model in [*llamas, "gemma3_text", "gpt2", "mistral", "phi3", "qwen2", "qwen3", "smollm3"]:
        (HERE / "seeds/config").mkdir(parents=True, exist_ok=True)
        shutil.copy(FIXTURES / "models" / model / "config.json", HERE / "seeds/config" / model)


def seed_adapter():
    def adapter(name, config, sites, rank=1, dtype="F32", infix=""):
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2, **config}
        values = (f16 if dtype == "F16" else f32)(*[0.5] * 4 * rank)
        prefix = "base_model.model.model.layers."
        shapes = [("A", [rank, 4]), ("B", [4, rank])]
        tensors = [
            (f"{prefix}{site}.lora_{which}{infix}.weight", dtype, shape, values)
            for site in sites
            for which, shape in shapes
        ]
        seed("adapter", name, json.dumps(config).encode() + b"\0" + safetensors(tensors))

    def every(*names):
        return [f"{layer}.{name}" for layer in range(2) for name in names]

    attention = [f"self_attn.{name}_proj" for name in "qkvo"]
    mlp = [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
    q, k, up = attention[0], attention[1], mlp[1]
    adapter("plain", {"target_modules": ["q_proj"]}, every(q))
    adapter(
        "pattern",
        {
            "target_modules": "all-linear",
            "rank_pattern": {"[qkvo]_proj": 2, "mlp\\..*": 2},
            "alpha_pattern": {"^model\\.layers\\.0\\..*": 3},
            "r": 7,
            "use_rslora": True,
        },
        every(*attention, *mlp),
        rank=2,
    )
    adapter(
        "regex",
        {"target_modules": ".*\\.(k|up)_proj", "exclude_modules": ["q_proj"]},
        every(k, up),
        dtype="F16",
        infix=".default",
    )
    adapter(
        "layers",
        {"target_modules": ["k_proj", "up_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
        [f"1.{k}", f"1.{up}"],
    )
    nothing = {
        "bias": "none",
        "modules_to_save": None,
        "fan_in_fan_out": False,
        "use_dora": False,
        "init_lora_weights": "gaussian",
    }
    adapter("nothing-more", {"target_modules": ["q_proj"], **nothing}, every(q), rank=3)
    mlx = {"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 2, "scale": 20.0, "keys": [q]}}
    tensors = [(f"model.layers.1.{q}.lora_a", "F32", [4, 2]), (f"model.layers.1.{q}.lora_b", "F32", [2, 4])]
    tensors = safetensors([(*tensor, f32(*[0.5] * 8)) for tensor in tensors])
    seed("adapter", "mlx", json.dumps(mlx).encode() + b"\0" + tensors)


def seed_documents():
    lines = [
        {"text": "Once é upon\n"},
        {"prompt": "2 + 2 =", "completion": " 4"},
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Ho"},
            ],
            "tools": None,
        },
        {
            "messages": [
                {"role": "user", "content": "f"},
                {"role": "assistant", "content": "", "tool_calls": [{"f": [1, 2.5e-3, True]}]},
            ],
            "tools": [{"name": "f"}],
        },
    ]
    seed("documents", "jsonl", "\ufeff" + "\r\n\n".join(json.dumps(line) for line in lines))
    for number, line in enumerate(lines, 1):
        seed("documents", f"line-{number}", json.dumps(line, ensure_ascii=False) + "\n")
    seed("documents", "pairs", '\ufeffid, prompt ,completion\n1,"a ""b"", c",d\n\n2,"two\nlines",e\r\n')
    seed("documents", "texts", "text,x\r\nOne two three four,1\r\n")


def seed_template():
    turns = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>\n{% endfor %}"
    opened = "{% if add_generation_prompt %}<assistant>{% endif %}"
    calls = "{% for c in m.tool_calls or [] %}{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}"
    marked = "{% generation %}{{ m['content'] }}{% endgeneration %}"
    templates = {
        "plain": turns + opened,
        "calls": "{%- for m in messages -%}[" + calls + "]{{ m.content }}{%- endfor %}" + opened,
        "marked": "{% for m in messages %}" + marked + "{% endfor %}",
        "state": "{% set n = namespace(last=-1) %}{% for m in messages[::-1] %}{% if m.role == 'user' %}"
        "{% set n.last = loop.index0 %}{% endif %}{% endfor %}{{ n.last }}" + turns,
        "macro": "{% macro show(m, end='|') %}{{ m.content }}{{ end }}{% endmacro %}"
        "{% for m in messages if m.content %}{{ show(m, end='') }}{{ '' if loop.last else ',' }}{% endfor %}",
        "python": "{{ '%s: %05.1f|%-4d' % ('a', 2.5, 3) }}{{ 'a=b=c'.rsplit('=', 1)[0].partition('=') }}"
        "{{ [1, 'é', None, True, {'a': 2.50}] }}{{ -7 // 2 }}{{ 7 % -3 }}{{ 2 ** 3 }}{{ '{:>6}'.format('ab') }}",
        "filters": "{{ tools | tojson(indent=2, sort_keys=true) }}{{ messages | map(attribute='role') | join(',') }}"
        "{{ messages | selectattr('role', 'equalto', 'user') | list | pprint }}{{ 'one two' | truncate(4) }}"
        "{{ messages | groupby('role') | list | length }}{{ 'a b' | urlencode | center(9) | wordcount }}",
        "slices": "{{ 'abcdef'[1:-1:2] }}{{ 'abc'[::-1] }}{{ messages[-1:][0].content[:2] }}{{ 'b' in 'abc' }}"
        "{{ 1 < 2 < 3 }}{{ not 'x' is string or 3 is divisibleby 2 }}{{ thinking is defined and not thinking }}",
    }
    for name, template in templates.items():
        seed("template", name, template)


def seed_tokenizer():
    def tokenizer(name, model, text, **more):
        seed(
            "tokenizer",
            name,
            json.dumps({**more, "model": {"type": "BPE", **model}}, ensure_ascii=False).encode()
            + b"\0"
            + text.encode(),
        )

    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    words = ["H", "e", "l", "o", "Ġ", "Ċ", "w", "r", "d", "!", "Ã", "©", "2", "ll", "He", "Ġw", "Hell", "Ġwo"]
    merges = [["l", "l"], ["H", "e"], ["Ġ", "w"], ["He", "ll"], ["Ġw", "o"]]
    model = {"vocab": {word: number for number, word in enumerate(words)}, "merges": merges}
    added = [
        {"id": len(words) + i, "content": content, "special": i == 0, "normalized": i == 1}
        for i, content in enumerate(["<s>", "lo w"])
    ]
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}
    tokenizer("gpt2", model, "Hello world", pre_tokenizer=byte_level, decoder=byte_level)
    tokenizer(
        "smollm2",
        {**model, "merges": [" ".join(merge) for merge in merges]},
        "22 é",
        pre_tokenizer=digits,
        decoder=byte_level,
        added_tokens=added[:1],
    )
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
        "special_tokens": {"<s>": {"ids": [len(words)]}},
    }
    for name, digit in [("llama3", "{1,3}"), ("qwen", "")]:
        regex = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
            + digit
            + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        before = {"type": "Sequence", "pretokenizers": [split, {**byte_level, "use_regex": False}]}
        after = {"type": "Sequence", "processors": [byte_level, template]}
        tokenizer(
            name,
            {**model, "ignore_merges": True},
            "Hell<s>lo w\r\n",
            normalizer={"type": "NFC"},
            pre_tokenizer=before,
            post_processor=after,
            decoder=byte_level,
            added_tokens=added,
        )
    families = json.loads((FIXTURES / "text/tokenizers.json").read_text())["families"]
    for name in ["o200k", "tekken", "deepseek"]:
        tokenizer(
            name, model, "Hell 2/\nwo!", decoder=byte_level, pre_tokenizer=families[name]["tokenizer"]["pre_tokenizer"]
        )
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in b"\n\xc3\xa9"), "▁", "H", "i", "▁H", "Hi"]
    spaces = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    tokenizer(
        "llama2",
        {
            "vocab": {piece: number for number, piece in enumerate(pieces)},
            "merges": ["▁ H", "H i"],
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
        },
        " Hi é\n",
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        post_processor={**template, "special_tokens": {"<s>": {"ids": [1]}}},
        decoder={
            "type": "Sequence",
            "decoders": [
                spaces,
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        added_tokens=[{"id": 1, "content": "<s>", "special": True, "lstrip": True}],
    )
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    tokenizer(
        "metaspace",
        {**model, "vocab": {"▁": 0, "H": 1}, "merges": []},
        " H",
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        pre_tokenizer=metaspace,
        decoder=metaspace,
    )
    tokenizer(
        "gemma",
        {"vocab": {"▁": 0, "H": 1, "▁H": 2}, "merges": ["▁ H"]},
        " H\n\nH ",
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        pre_tokenizer={
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        decoder={"type": "Sequence", "decoders": [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        added_tokens=[{"id": 3, "content": "\n"}, {"id": 4, "content": "\n\n"}],
    )


def seed_run_state():
    settings = {
        "seqLen": 16,
        "batch": 2,
        "accumulate": 1,
        "method": "lora",
        "rank": 1,
        "alpha": 2.0,
        "targets": "q_proj",
        "lr": 0.01,
        "schedule": "linear",
    }
    settings |= {
        "warmup": 0.05,
        "steps": 4,
        "clip": 1.0,
        "weightDecay": 0.0,
        "dropout": 0.0,
        "holdout": 0.1,
        "evalEvery": 0,
        "patience": 0,
    }
    settings |= {"sampleEvery": 0, "prompt": "", "maxTokens": 4, "seed": 7, "shuffle": True}
    site = {"layer": 0, "target": "Q", "rank": 1, "alpha": 2.0}
    config = {
        "type": "config",
        "base": "tiny",
        "baseSha256": "ab",
        "version": "0.1.0",
        "adapter": "none",
        "rows": 3,
        "heldOut": 1,
        "parameters": 8,
        "settings": settings,
    }
    step = {
        "type": "step",
        "step": 1,
        "loss": 3.5,
        "gradNorm": 0.25,
        "lr": 1e-3,
        "tokens": 32,
        "tokensPerSecond": 10.5,
        "etaMs": 1e3,
    }
    events = [
        config,
        {"type": "phase", "phase": "training", "done": 0, "total": 4},
        step,
        {"type": "eval", "step": 0, "loss": 4.0, "tokens": 9},
        {"type": "sample", "step": 0, "prompt": "a", "text": "b"},
        {"type": "warning", "code": "c", "message": "m"},
        {"type": "checkpoint", "step": 1},
        {"type": "done", "step": 4, "baseLoss": 4.0, "bestLoss": None, "bestStep": 0, "reason": "early_stop"},
    ]
    losses = {"base": 4.0, "start": 4.0, "best": None, "bestStep": 0, "lastStep": 0, "sinceBest": 0, "lastSample": 0}
    state = {
        "form": 1,
        "step": 1,
        "updates": 1,
        "settings": settings,
        "spec": {"sites": [site]},
        "baseSha256": "ab",
        "dataSha256": "cd",
        "losses": losses,
    }
    for name, extra, said in [("fresh", [], []), ("best", ["best"], events)]:
        tensors = [(tensor, "F32", [2], f32(0.5, -1)) for tensor in [*extra, "m", "p", "v"]]
        seed("run_state", name, safetensors(tensors, {"tabtune": json.dumps({**state, "events": said})}))
    # Form 2 keeps every matrix by its name.
    module, shapes = "base_model.model.model.layers.0.self_attn.q_proj", [("A", [1, 2]), ("B", [2, 1])]
    parts = ["best", "m", "p", "v"]
    names = [(f"{part}.{module}.lora_{which}.weight", shape) for part in parts for which, shape in shapes]
    tensors = [(name, "F32", shape, f32(0.5, -1)) for name, shape in names]
    config["device"] = config.pop("adapter")
    seed("run_state", "form-2", safetensors(tensors, {"tabtune": json.dumps({**state, "form": 2, "events": events})}))


if __name__ == "__main__":
    shutil.rmtree(HERE / "seeds", ignore_errors=True)
    weights = [seed_safetensors, seed_shards, seed_gguf]
    for make in [*weights, seed_config, seed_adapter, seed_documents, seed_template, seed_tokenizer, seed_run_state]:
        make()
