"""The architecture of the built-in model, and how it becomes a Hugging Face checkpoint."""

import json
import math
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

EPS, THETA = 1e-5, 10000.0


class Size(NamedTuple):
    channels: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    context: int


class RMSNorm(nn.Module):
    def __init__(self, C):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C))

    def forward(self, x):
        return F.rms_norm(x, (x.size(-1),), self.weight, EPS)


def rope_tables(T, D):
    frequencies = 1.0 / THETA ** (torch.arange(0, D, 2).float() / D)
    angles = torch.outer(torch.arange(T).float(), frequencies)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotated(x, cos, sin):
    half = x.size(-1) // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Block(nn.Module):
    def __init__(self, size):
        super().__init__()
        C, self.H, self.KV = size.channels, size.heads, size.kv_heads
        self.D = C // self.H
        linear = lambda inputs, outputs: nn.Linear(inputs, outputs, bias=False)
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(C), RMSNorm(C)
        self.self_attn = nn.ModuleDict(
            dict(
                q_proj=linear(C, self.H * self.D),
                k_proj=linear(C, self.KV * self.D),
                v_proj=linear(C, self.KV * self.D),
                o_proj=linear(self.H * self.D, C),
            )
        )
        self.mlp = nn.ModuleDict(
            dict(gate_proj=linear(C, size.hidden), up_proj=linear(C, size.hidden), down_proj=linear(size.hidden, C))
        )

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        attention, mlp = self.self_attn, self.mlp
        h = self.input_layernorm(x)
        heads = lambda name, count: attention[name](h).view(B, T, count, self.D).transpose(1, 2)
        q = rotated(heads("q_proj", self.H), cos, sin)
        k = rotated(heads("k_proj", self.KV), cos, sin).repeat_interleave(self.H // self.KV, 1)
        v = heads("v_proj", self.KV).repeat_interleave(self.H // self.KV, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + attention["o_proj"](y.transpose(1, 2).reshape(B, T, -1))
        h = self.post_attention_layernorm(x)
        return x + mlp["down_proj"](F.silu(mlp["gate_proj"](h)) * mlp["up_proj"](h))


class Model(nn.Module):
    def __init__(self, vocabulary, size):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, size.channels)
        self.layers = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = RMSNorm(size.channels)
        cos, sin = rope_tables(size.context, size.channels // size.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                adds_to_the_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * size.layers) if adds_to_the_stream else 1))

    def forward(self, ids):
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.size(1)], self.sin[: ids.size(1)]
        for block in self.layers:
            x = block(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def export(model, size, tokenizer, out):
    """Writes config.json, tokenizer_config.json and model.safetensors, in float16; tokenizer.json is there already."""
    weights = {"model." + name: tensor.detach().to("cpu", torch.float16) for name, tensor in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    end = "<|endoftext|>"
    config = dict(
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=size.channels,
        intermediate_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.channels // size.heads,
        max_position_embeddings=size.context,
        rms_norm_eps=EPS,
        rope_theta=THETA,
        hidden_act="silu",
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
        bos_token_id=tokenizer.token_to_id(end),
        eos_token_id=tokenizer.token_to_id(end),
        torch_dtype="float16",
    )
    tokenizer_config = dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token=end,
        eos_token=end,
        pad_token=end,
        model_max_length=size.context,
        clean_up_tokenization_spaces=False,
    )
    for name, content in (("config.json", config), ("tokenizer_config.json", tokenizer_config)):
        (out / name).write_text(json.dumps(content, indent=2))


@torch.no_grad()
def sample(model, tokenizer, prompt, tokens, seed):
    """A continuation at temperature 0.7 among the 40 likeliest tokens."""
    device = model.cos.device
    generator = torch.Generator(device=device).manual_seed(seed)
    ids = tokenizer.encode(prompt).ids
    for _ in range(tokens):
        context = torch.tensor([ids[-model.cos.size(0) :]], device=device)
        probabilities = F.softmax(model(context)[0, -1].float() / 0.7, -1)
        likeliest, which = probabilities.topk(40)
        ids.append(int(which[torch.multinomial(likeliest, 1, generator=generator)]))
    return tokenizer.decode(ids).split("<|endoftext|>")[0]
