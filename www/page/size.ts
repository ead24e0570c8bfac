/** How many parameters an adapter has: rank × (in + out) for every matrix that learns. */

import type { ModelConfig } from "./state";

export function adapterSize(config: ModelConfig, rank: number, targets: string): number {
  const { hidden_size: hidden, intermediate_size: wide } = config;
  const queries = config.num_attention_heads * config.head_dim;
  const keys = config.num_key_value_heads * config.head_dim;
  const sides: Record<string, number> = {
    q_proj: hidden + queries,
    k_proj: hidden + keys,
    v_proj: hidden + keys,
    o_proj: queries + hidden,
    gate_proj: hidden + wide,
    up_proj: hidden + wide,
    down_proj: wide + hidden,
  };
  const groups: Record<string, string[]> = {
    "all-linear": Object.keys(sides),
    attention: ["q_proj", "k_proj", "v_proj", "o_proj"],
  };
  const names = groups[targets] ?? targets.split(",");
  return config.num_hidden_layers * rank * names.reduce((sum, name) => sum + (sides[name] ?? 0), 0);
}
