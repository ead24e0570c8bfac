/** What the page reads of a model's config.json, to say how large things are before anything is loaded. */

export interface ModelConfig {
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  vocab_size: number;
  tie_word_embeddings: boolean;
}

/** Old files leave out what follows from the rest. The engine judges the file; this only counts with it. */
export function modelConfig(json: Partial<ModelConfig> | null): ModelConfig {
  const number = (value: unknown, usual = 0) => (typeof value === "number" ? value : usual);
  const hidden = number(json?.hidden_size);
  const heads = number(json?.num_attention_heads, 1);
  return {
    hidden_size: hidden,
    intermediate_size: number(json?.intermediate_size),
    num_hidden_layers: number(json?.num_hidden_layers),
    num_attention_heads: heads,
    num_key_value_heads: number(json?.num_key_value_heads, heads),
    head_dim: number(json?.head_dim, hidden / heads),
    vocab_size: number(json?.vocab_size),
    tie_word_embeddings: json?.tie_word_embeddings === true,
  };
}

export function modelSize(config: ModelConfig): number {
  const { hidden_size: hidden, vocab_size: vocabulary, num_hidden_layers: layers } = config;
  const matrices = Object.values(sides(config)).reduce((sum, [rows, columns]) => sum + rows * columns, 0);
  const tables = (config.tie_word_embeddings ? 1 : 2) * vocabulary * hidden;
  return layers * (matrices + 2 * hidden) + hidden + tables;
}

/** How many parameters an adapter has: rank × (in + out) for every matrix that learns. */
export function adapterSize(config: ModelConfig, rank: number, targets: string): number {
  const shapes = sides(config);
  const groups: Record<string, string[]> = {
    "all-linear": Object.keys(shapes),
    attention: ["q_proj", "k_proj", "v_proj", "o_proj"],
  };
  const names = groups[targets] ?? targets.split(",");
  const ends = names.map((name): [number, number] => shapes[name] ?? [0, 0]);
  return config.num_hidden_layers * rank * ends.reduce((sum, [rows, columns]) => sum + rows + columns, 0);
}

/** [out, in] of the matrices of a layer. */
function sides(config: ModelConfig): Record<string, [number, number]> {
  const { hidden_size: hidden, intermediate_size: wide } = config;
  const queries = config.num_attention_heads * config.head_dim;
  const keys = config.num_key_value_heads * config.head_dim;
  return {
    q_proj: [queries, hidden],
    k_proj: [keys, hidden],
    v_proj: [keys, hidden],
    o_proj: [hidden, queries],
    gate_proj: [wide, hidden],
    up_proj: [wide, hidden],
    down_proj: [hidden, wide],
  };
}
