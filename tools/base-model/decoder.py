"""SmolLM2-135M-Instruct on one GPU, decoding a whole batch: all rows write at the same position.

Every decoding step is one CUDA graph. Rows that have ended are dropped every 32 steps: the live ones move together, and
a smaller graph goes on. Without a GPU the same steps run one by one, which is for tests.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from cleaning import COMMON

EPS = 1e-5
END = 2
# Tokens that belong to the chat template come first in the vocabulary.
SPECIAL = 17
TEMPERATURE, LEAST = 0.8, 0.06
"""LEAST is the smallest probability, as a fraction of the largest, that a token may be drawn with."""
WINDOW, PENALTY = 96, 0.6
"""What a content word loses, in logits, if it is among the last WINDOW tokens."""
REPEAT_PENALTY = 2.0
"""What a token loses for each place before where it followed the same three tokens."""
BIAS = 0.4
"""The weight of token_bias.npy."""
END_FROM, END_AT, END_BOOST = 80, 220, 5
"""After END_FROM tokens the end gets likelier, by END_BOOST at END_AT."""
STEPS_PER_COMPACTION = 32
PROSE = re.compile(r"^ ?(?:[A-Z]?[a-z]+|[A-Z]|'[a-z]{0,2}|[.,!?;:'\"-]{1,3}|\.\.\.|[0-9])$|^\n{1,2}$|^ $")


def prose_tokens(tokenizer):
    """The tokens of plain ASCII prose, and the end of the turn: no markup, no lists, no other scripts."""
    ids = range(tokenizer.get_vocab_size())
    return [i for i in ids if i == END or (i >= SPECIAL and PROSE.match(tokenizer.decode([i])))]


def rotated(rows, size):
    """The rows that compute rotate_half of what these rows compute, for heads of this size."""
    halves = rows.view(-1, 2, size // 2, rows.shape[1])
    return torch.stack([-halves[:, 1], halves[:, 0]], 1).reshape(rows.shape)


class Decoder:
    """Letters: B batch, T cached positions, C channels, H heads, KV key-value heads, D head size, N new tokens."""

    def __init__(self, checkpoint, tokenizer, B, T, N):
        self.cuda = torch.cuda.is_available()
        self.place = {"device": "cuda" if self.cuda else "cpu"}
        self.type = torch.bfloat16 if self.cuda else torch.float32
        config = json.loads((Path(checkpoint) / "config.json").read_text())
        self.C, self.H, self.KV = (
            config[f"{name}"] for name in ("hidden_size", "num_attention_heads", "num_key_value_heads")
        )
        self.D = self.C // self.H
        self.B, self.T, self.N = B, T, N
        self.load(load_file(Path(checkpoint) / "model.safetensors"), config)
        self.prepare_sampling(tokenizer)
        whole = dict(dtype=torch.int64, **self.place)
        caches = [
            [torch.zeros(B * self.KV, T, self.D, dtype=self.type, **self.place) for _ in self.layers] for _ in "kv"
        ]
        self.keys, self.values = caches
        self.token, self.position, self.step = (torch.zeros(n, **whole) for n in (B, 1, 1))
        self.done = torch.zeros(B, dtype=torch.bool, **self.place)
        # Which row of the output each row of the batch writes, as the live ones move.
        self.row, self.written = torch.arange(B, **whole), torch.full((B, N), END, **whole)
        self.recent, self.history = torch.zeros(B, WINDOW, **whole), torch.zeros(B, N + 3, **whole)
        self.positions = torch.arange(max(T, N + 3), **self.place)
        self.rows_per_prefill = 512 if self.cuda else 64
        self.sizes = sorted({max(1, B * i // 16) for i in (1, 2, 3, 4, 6, 8, 10, 12, 14, 16)})
        self.graphs, self.pool = {}, None

    def load(self, weights, config):
        """Queries are scaled, and rope needs no shuffling: the projection also computes rotate_half of q and k."""
        put = lambda x: x.to(self.type).to(**self.place).contiguous()
        C, H, KV, D = self.C, self.H, self.KV, self.D
        self.embedding, self.norm = put(weights["model.embed_tokens.weight"]), put(weights["model.norm.weight"])
        self.layers = []
        for layer in range(config["num_hidden_layers"]):
            weight = lambda name: weights[f"model.layers.{layer}.{name}.weight"].float()
            q, k, v = (weight(f"self_attn.{name}_proj") for name in "qkv")
            q = q / math.sqrt(D)
            self.layers.append(
                dict(
                    attention_norm=put(weight("input_layernorm")),
                    qkv=put(torch.cat([q, k, v, rotated(q, D), rotated(k, D)])).t(),
                    out=put(weight("self_attn.o_proj")).t(),
                    mlp_norm=put(weight("post_attention_layernorm")),
                    gate_up=put(torch.cat([weight("mlp.gate_proj"), weight("mlp.up_proj")])).t(),
                    down=put(weight("mlp.down_proj")).t(),
                )
            )
        frequencies = 1.0 / config["rope_theta"] ** (torch.arange(0, D, 2).float() / D)
        angles = torch.outer(torch.arange(self.T).float(), frequencies)
        angles = torch.cat([angles, angles], -1).repeat(1, H + KV)
        self.cos, self.sin = put(angles.cos()), put(angles.sin())
        self.F = config["intermediate_size"]

    def prepare_sampling(self, tokenizer):
        ids = prose_tokens(tokenizer)
        self.ids = torch.tensor(ids, **self.place)
        self.head = self.embedding[self.ids].contiguous()
        bias = np.load(Path(__file__).parent / "token_bias.npy").astype(np.float32)[ids] * BIAS
        self.bias = torch.from_numpy(bias).to(**self.place)
        words = [tokenizer.decode([i]) for i in ids]
        content = [
            w[:1] == " " and w[1:].isalpha() and w.islower() and len(w) > 4 and w[1:] not in COMMON for w in words
        ]
        self.penalty = torch.tensor(content, **self.place).float() * PENALTY
        self.end = ids.index(END)
        ramp = (torch.arange(self.N) - END_FROM) / (END_AT - END_FROM)
        self.end_boost = ramp.clamp(0, 1.5).mul(END_BOOST).to(**self.place)

    def projected(self, x, layer, cos, sin):
        """q, k and v of x [..., C], side by side, with rope applied."""
        y = F.rms_norm(x, (self.C,), layer["attention_norm"], EPS) @ layer["qkv"]
        width = (self.H + self.KV) * self.D
        y[..., :width].mul_(cos).addcmul_(y[..., width + self.KV * self.D :], sin)
        return y

    def mlp(self, x, layer):
        up = F.rms_norm(x, (self.C,), layer["mlp_norm"], EPS) @ layer["gate_up"]
        return torch.addmm(x, F.silu(up[:, : self.F]).mul_(up[:, self.F :]), layer["down"])

    def prefill(self, ids):
        """Fills the cache with all but the last token of prompts [B, P], and starts a round."""
        H, KV, D = self.H, self.KV, self.D
        P = ids.shape[1] - 1
        for first in range(0, self.B, self.rows_per_prefill):
            x = self.embedding[ids[first : first + self.rows_per_prefill, :P]]
            n = x.shape[0]
            for layer, keys, values in zip(self.layers, self.keys, self.values):
                y = self.projected(x, layer, self.cos[:P], self.sin[:P])
                heads = y[..., : (H + 2 * KV) * D].view(n, P, H + 2 * KV, D).transpose(1, 2)
                q, k, v = heads.split([H, KV, KV], 1)
                for cache, new in ((keys, k), (values, v)):
                    cache.view(self.B, KV, self.T, D)[first : first + n, :, :P] = new
                k, v = (z.repeat_interleave(H // KV, 1) for z in (k, v))
                attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
                attended = attended.transpose(1, 2).reshape(n * P, self.C)
                x = torch.addmm(x.reshape(n * P, self.C), attended, layer["out"])
                x = self.mlp(x, layer).view(n, P, self.C)
        self.token.copy_(ids[:, -1])
        self.position.fill_(P)
        for tensor in (self.step, self.recent, self.history):
            tensor.zero_()
        self.done.fill_(False)
        self.written.fill_(END)
        self.row.copy_(torch.arange(self.B))

    def decode_one(self, b, T):
        """One step of the first b rows, which see the first T cached positions."""
        KV, D, width = self.KV, self.D, self.H * self.D
        x = self.embedding[self.token[:b]]
        cos, sin = self.cos[self.position], self.sin[self.position]
        mask = torch.where(self.positions[:T] <= self.position, 0.0, float("-inf")).to(self.type)
        for layer, keys, values in zip(self.layers, self.keys, self.values):
            y = self.projected(x, layer, cos, sin)
            for cache, at in ((keys, width), (values, width + KV * D)):
                new = y[:, at : at + KV * D].view(b, KV, 1, D)
                cache.view(self.B, KV, self.T, D)[:b].index_copy_(2, self.position, new)
            q = y[:, :width].reshape(b * KV, self.H // KV, D)
            weights = torch.softmax(torch.bmm(q, keys[: b * KV, :T].transpose(1, 2)) + mask, -1)
            attended = torch.bmm(weights, values[: b * KV, :T]).view(b, width)
            x = self.mlp(torch.addmm(x, attended, layer["out"]), layer)
        self.draw(b, (F.rms_norm(x, (self.C,), self.norm, EPS) @ self.head.t()).float())

    def draw(self, b, logits):
        """Draws the next token of the first b rows and writes it down."""
        logits.add_(self.bias)
        logits[:, self.end].add_(self.end_boost[self.step])
        recent = self.recent[:b]
        logits.scatter_(1, recent, logits.gather(1, recent) - self.penalty[recent])

        history, places = self.history[:b], self.positions[: self.N + 3]
        back = lambda j: history.gather(1, (self.step + 3 - j).expand(b)[:, None])
        same = (history[:, :-3] == back(3)) & (history[:, 1:-2] == back(2)) & (history[:, 2:-1] == back(1))
        same = same & (places[3:] < self.step + 3)
        logits.scatter_add_(1, history[:, 3:], same.float() * -REPEAT_PENALTY)

        logits.mul_(1 / TEMPERATURE).sub_(logits.amax(1, keepdim=True))
        weights = logits.masked_fill_(logits < math.log(LEAST), float("-inf")).exp_()
        # The first to arrive of exponential clocks is a draw from the softmax.
        drawn = weights.div_(torch.empty_like(weights).exponential_().clamp_(min=1e-10)).argmax(1)
        self.recent[:b].index_copy_(1, self.step % WINDOW, drawn[:, None])
        self.history[:b].index_copy_(1, self.step + 3, drawn[:, None])
        tokens = torch.where(self.done[:b], END, self.ids[drawn])
        self.done[:b].logical_or_(tokens == END)
        self.token[:b].copy_(tokens)
        self.written.index_put_((self.row[:b], self.step.expand(b)), tokens)
        self.position.add_(1)
        self.step.add_(1)

    def replay(self, b, T):
        """decode_one as a CUDA graph, captured when it is first needed."""
        if not self.cuda:
            return self.decode_one(b, T)
        if (b, T) not in self.graphs:
            state = [self.token, self.position, self.step, self.done]
            saved = [tensor.clone() for tensor in state]
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self.decode_one(b, T)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            for tensor, value in zip(state, saved):
                tensor.copy_(value)
            if self.pool is None:
                self.pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                self.decode_one(b, T)
            self.graphs[b, T] = graph
        self.graphs[b, T].replay()

    def compact(self, b, fewer):
        """Moves the live ones of the first b rows into the first `fewer`."""
        done = self.done[:b]
        source = torch.nonzero(~done[fewer:]).flatten() + fewer
        target = torch.nonzero(done[:fewer]).flatten()[: len(source)]
        for cache in (*self.keys, *self.values):
            rows = cache.view(self.B, -1)
            rows[target] = rows[source]
        for tensor in (self.token, self.recent, self.history):
            tensor[target] = tensor[source]
        moved = self.row[target].clone()
        self.row[target] = self.row[source]
        self.row[source] = moved
        self.done[target] = False
        self.done[source] = True

    @torch.inference_mode()
    def round(self, prompts, out_of_time):
        """Answers [B, N] to prompts [B, P] of one length. Rows that were still open at the end hold no END."""
        ids = torch.from_numpy(prompts.astype(np.int64)).to(**self.place)
        self.prefill(ids)
        P, b = ids.shape[1] - 1, self.B
        for step in range(min(self.N, self.T - P)):
            if step > 0 and step % STEPS_PER_COMPACTION == 0:
                live = int((~self.done[:b]).sum())
                if live <= self.B // 32 or out_of_time():
                    break
                fewer = min(size for size in self.sizes if size >= live)
                if fewer < b:
                    self.compact(b, fewer)
                    b = fewer
            self.replay(b, min(self.T, (P + step) // 64 * 64 + 64))
        written = self.written.clone()
        written[:, int(self.step) :] = END
        if int(self.step) < self.N:
            written[self.row[:b][~self.done[:b]]] = 0
        return written.cpu().numpy().astype(np.uint16)
