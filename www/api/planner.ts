/** What a model would take, by the engine's own plan, before anything of it is loaded. */

import { fetchProgram } from "./fetch_program";
import type { WorkerSource } from "./host";
import { Session } from "./session";
import type { DeviceChoice, Foreseen, Settings, WeightsChoice } from "./types";
import type { CheckpointFiles, ModelFiles } from "./weights";

export interface PlanOptions {
  device?: DeviceChoice;
  weights?: WeightsChoice;
  /** Where a run differs from the model's default. */
  settings?: Partial<Settings>;
  wasmUrl?: string | URL;
  workerUrl?: WorkerSource;
  signal?: AbortSignal;
}

/** Rejects if the model cannot be loaded here. */
export async function plan(files: ModelFiles, options: PlanOptions): Promise<Foreseen> {
  const { device = "auto", weights = "auto", settings, wasmUrl, workerUrl, signal } = options;
  const program = await fetchProgram(() => {}, wasmUrl, signal);
  const session = await Session.start(workerUrl);
  const close = () => session.close();
  signal?.addEventListener("abort", close);
  try {
    if (signal?.aborted) close();
    await session.load(program, smallest(), { device, workers: 1 });
    return await session.foresee(files, weights, settings);
  } finally {
    signal?.removeEventListener("abort", close);
    close();
  }
}

const SIZE = 32;
const CONFIG = {
  model_type: "llama",
  hidden_size: SIZE,
  intermediate_size: SIZE,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  num_key_value_heads: 1,
  vocab_size: SIZE,
  max_position_embeddings: SIZE,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
};
const BYTES = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const TOKENIZER = { pre_tokenizer: BYTES, decoder: BYTES, model: { type: "BPE", vocab: { a: 0 }, merges: [] } };
const NORMS = ["input_layernorm", "post_attention_layernorm"];
const LINEARS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
const MLP = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

/** The engine plans from within a model: this one has a single layer, and nothing but zeros in it. */
function smallest(): CheckpointFiles {
  const square = [SIZE, SIZE];
  const inLayer = (names: string[], shape: number[]) =>
    names.map((name): [string, number[]] => [`model.layers.0.${name}.weight`, shape]);
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", square],
    ["model.norm.weight", [SIZE]],
    ...inLayer(NORMS, [SIZE]),
    ...inLayer([...LINEARS, ...MLP], square),
  ];
  let end = 0;
  const entries = shapes.map(([name, shape]) => {
    const from = end;
    end += 4 * shape.reduce((product, size) => product * size, 1);
    return [name, { dtype: "F32", shape, data_offsets: [from, end] }];
  });
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const length = BigUint64Array.of(BigInt(header.length));
  const json = (value: object) => new Blob([JSON.stringify(value)]);
  return {
    name: "smallest",
    config: json(CONFIG),
    tokenizer: json(TOKENIZER),
    weights: new Blob([length, header, new Uint8Array(end)]),
  };
}
