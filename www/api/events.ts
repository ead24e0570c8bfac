/** What goes in and comes out of the engine. Everything here is plain data that survives `postMessage`. */

export interface Settings {
  seqLen: number;
  batch: number;
  accumulate: number;
  /** "full" only natively. */
  method: "lora" | "full";
  rank: number;
  alpha: number;
  /** "all-linear", "attention", or names such as "q_proj,v_proj". */
  targets: string;
  lr: number;
  schedule: "linear" | "cosine" | "constant";
  /** Fraction of the steps. */
  warmup: number;
  steps: number;
  clip: number;
  weightDecay: number;
  /** The part of an adapter's inputs that is zeroed at random while it learns. */
  dropout: number;
  /** Fraction of the rows. */
  holdout: number;
  /** The most rows that are held out with the usual fraction; null: any number. */
  holdoutAtMost: number | null;
  /** Steps between evaluations; 0: a tenth of the run. */
  evalEvery: number;
  /** Evaluations in a row without a better one after which the run ends; 0: never. */
  patience: number;
  /** Steps between samples; 0: none. */
  sampleEvery: number;
  prompt: string;
  seed: number;
  shuffle: boolean;
  /** Tokens in a sample. */
  maxTokens: number;
}

export interface ModelInfo {
  name: string;
  modelType: string;
  parameters: number;
  vocabulary: number;
  context: number;
  hidden: number;
  layers: number;
  heads: number;
  sha256: string;
  weightBytes: number;
  gpu: { name: string; software: boolean; maxBindingBytes: number };
}

export interface Loaded {
  info: ModelInfo;
  defaults: Settings;
}

export interface Notice {
  code: string;
  message: string;
}

export interface DatasetSummary {
  characters: number;
  tokens: number;
  /** Held-out ones included. */
  rows: number;
  heldOut: number;
  targets: number;
  tokensPerCharacter: number;
  /** 150 steps or three epochs, whichever is more. */
  defaultSteps: number;
  warnings: Notice[];
  /** The first rows as the model reads them; `trained` says whether a token carries loss. */
  preview: { tokens: { text: string; trained: boolean }[] }[];
}

export interface Probe {
  msPerStep: number;
  tokensPerSecond: number;
  etaMs: number;
}

/** The two PEFT files of an adapter, and what the page says about them. */
export interface AdapterFiles {
  config: string;
  weights: Uint8Array<ArrayBuffer>;
  rank: number;
  alpha: number;
  targets: string[];
  parameters: number;
  step: number;
  loss: number | null;
}

export interface GenerateOptions {
  prompt: string;
  adapter: boolean;
  strength: number;
  seed: number;
  maxTokens: number;
  temperature: number;
  topK: number;
  topP: number;
}

export interface Generated {
  text: string;
  tokens: number;
  reason: "eos" | "length" | "stopped";
}

export interface Stats {
  gpuBytes: number;
  gpuPeakBytes: number;
  buffers: number;
  pipelines: number;
}

export type Event =
  | ({ type: "config" } & Record<string, unknown>)
  | { type: "phase"; phase: "loading" | "compiling" | "training" | "paused"; done: number; total: number }
  | {
      type: "step";
      step: number;
      loss: number;
      gradNorm: number;
      lr: number;
      tokens: number;
      tokensPerSecond: number;
      etaMs: number;
    }
  | { type: "eval"; step: number; loss: number; tokens: number }
  | { type: "sample"; step: number; prompt: string; text: string }
  | { type: "warning"; code: string; message: string }
  /** The run can be taken up again from here. */
  | { type: "checkpoint"; step: number }
  | {
      type: "done";
      step: number;
      baseLoss: number | null;
      bestLoss: number | null;
      bestStep: number;
      reason: "finished" | "early_stop" | "stopped" | "cancelled" | "non_finite";
    };
