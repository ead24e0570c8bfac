#!/usr/bin/env python3
"""Makes an ordinary Hugging Face checkpoint of SmolLM2-135M-Instruct out of the GGUF file of fetch_models.py.

    python tools/smollm2.py ~/.cache/tabtune/models/SmolLM2-135M-Instruct.Q4_1.gguf DIR

It has 269 MB; numpy and safetensors are needed. The weights are the published ones as that file rounds them (Q4_1, the
embedding Q8_0), written in f16: right names, right shapes, sensible text.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from fetch_models import gguf_fields, tokenizer

# GGUF's types: F32, Q4_1 (blocks of 32: scale, minimum, 16 bytes of two numbers each), Q8_0 (blocks of 32: scale, 32
# signed bytes).
F32, Q4_1, Q8_0 = 0, 3, 8
LINEARS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def dequantize(kind, data, count):
    if kind == F32:
        return np.frombuffer(data, "<f4", count)
    blocks = np.frombuffer(data, np.uint8, count // 32 * {Q4_1: 20, Q8_0: 34}[kind]).reshape(count // 32, -1)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    if kind == Q8_0:
        return (scale * blocks[:, 2:].view(np.int8)).reshape(-1)
    least, packed = blocks[:, 2:4].copy().view("<f2").astype(np.float32), blocks[:, 4:]
    return (scale * np.concatenate([packed & 15, packed >> 4], axis=1) + least).reshape(-1)


def tensors(path):
    """(name, array) of every tensor; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""
    data = path.read_bytes()
    fields, at = gguf_fields(path, with_end=True)
    count = struct.unpack_from("<Q", data, 8)[0]
    infos = []
    for _ in range(count):
        length = struct.unpack_from("<Q", data, at)[0]
        name = data[at + 8 : at + 8 + length].decode()
        at += 8 + length
        dims = struct.unpack_from("<I", data, at)[0]
        shape = struct.unpack_from(f"<{dims}Q", data, at + 4)[::-1]
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * dims)
        at += 16 + 8 * dims
        infos.append((name, shape, kind, offset))
    alignment = fields.get("general.alignment", 32)
    begin = -(-at // alignment) * alignment
    for name, shape, kind, offset in infos:
        yield name, dequantize(kind, data[begin + offset :], int(np.prod(shape))).reshape(shape)


def halves_apart(rows, heads):
    """GGUF interleaves the two halves of each head's rows, as it rotates them; Hugging Face keeps them apart."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def checkpoint(path, fields):
    heads, kv = fields["llama.attention.head_count"], fields["llama.attention.head_count_kv"]
    for name, values in tensors(path):
        parts = name.split(".")
        if parts[0] in ("token_embd", "output_norm"):
            yield {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[parts[0]], values
            continue
        if parts[2] in ("attn_q", "attn_k"):
            values = halves_apart(values, heads if parts[2] == "attn_q" else kv)
        yield f"model.layers.{parts[1]}.{LINEARS[parts[2]]}.weight", values


def main():
    path, out = Path(sys.argv[1]), Path(sys.argv[2])
    fields = gguf_fields(path)
    token = lambda key: fields[f"tokenizer.ggml.{key}_token_id"]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "max_position_embeddings": fields["llama.context_length"],
        "rope_theta": fields["llama.rope.freq_base"],
        "rms_norm_eps": 1e-5,
        "bos_token_id": token("bos"),
        "eos_token_id": token("eos"),
    }
    texts = fields["tokenizer.ggml.tokens"]
    names = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": texts[token("bos")],
        "eos_token": texts[token("eos")],
        "chat_template": fields["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
    }
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": config,
        "tokenizer_config.json": names,
        "tokenizer.json": tokenizer(fields),
        "generation_config.json": {"bos_token_id": token("bos"), "eos_token_id": token("eos")},
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    arrays = {name: np.ascontiguousarray(values.astype(np.float16)) for name, values in checkpoint(path, fields)}
    save_file(arrays, str(out / "model.safetensors.part"), metadata={"format": "pt"})
    (out / "model.safetensors.part").rename(out / "model.safetensors")


if __name__ == "__main__":
    main()
