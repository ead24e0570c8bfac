/** What goes into the engine and comes out of it. Everything here is plain data that survives `postMessage`. */

export interface TextDocument {
  name: string;
  content: Blob;
  /** The columns of a table, or the keys of records, that hold the text, if their names are not known ones. */
  columns?: Columns;
}

export type Columns = { text: string } | { prompt: string; completion: string };

/** A message of a conversation; the model's chat template writes it. */
export interface Message {
  role: string;
  content: string;
}

export type Method = "lora" | "full";

export interface Settings {
  seqLen: number;
  batch: number;
  accumulate: number;
  /** An adapter learns, or every matrix of the model's layers. */
  method: Method;
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
  /** The fraction of an adapter's inputs that is set to zero at random while it learns. */
  dropout: number;
  /** Whether norms and activations are computed again in the backward pass: less memory, hardly more time. */
  lean: boolean;
  /** Whether blocks are computed again in the backward pass: even less memory, more time. */
  checkpointing: boolean;
  /** Whether short examples share rows. */
  packing: boolean;
  /** Whether a graphics card is first measured, for about a second, to find what is fastest there. */
  autotune: boolean;
  /** Fraction of the rows. */
  holdout: number;
  /** The most rows that the default fraction may hold out; null: no limit. */
  holdoutAtMost: number | null;
  /** Steps between evaluations; 0: a tenth of the run. */
  evalEvery: number;
  /** The run ends after so many evaluations in a row without a better one; 0: never. */
  patience: number;
  /** Steps between samples; 0: none. */
  sampleEvery: number;
  prompt: string;
  seed: number;
  shuffle: boolean;
  /** Tokens in a sample. */
  maxTokens: number;
}

/** A product of matrices of [rows, depth] and [depth, columns], and how it is computed. */
export interface TunedProduct {
  /** What kind of product it is. */
  features: string;
  rows: number;
  columns: number;
  depth: number;
  tile: string;
  splits: number;
}

/** What a run takes on the device, in bytes. */
export interface Memory {
  weights: number;
  /** The tables of rotary positions. */
  rope: number;
  /** With its gradient and the optimizer's moments. */
  adapter: number;
  activations: number;
  logits: number;
  /** The keys and values of samples. */
  cache: number;
  other: number;
  total: number;
}

/** What a model will take once it is loaded. */
export interface Foreseen {
  parameters: number;
  /** How its matrices would be stored: "auto" is as the file has them. */
  weights: WeightsChoice;
  /** Of the run that was asked about or, where its rows do not fit, with the shortest. */
  batch: number;
  seqLen: number;
  /** What that run takes, in bytes on the device. */
  memory: number;
}

/** Which numbers a setting may be: those within all the bounds that there are. */
export interface Limit {
  whole: boolean;
  from?: number;
  above?: number;
  to?: number;
  below?: number;
}

/** The settings that are numbers, except for the rank, whose limit depends on the targets. */
export type LimitedSetting =
  | "seqLen"
  | "batch"
  | "accumulate"
  | "alpha"
  | "lr"
  | "warmup"
  | "steps"
  | "clip"
  | "weightDecay"
  | "dropout"
  | "holdout"
  | "evalEvery"
  | "patience"
  | "sampleEvery"
  | "maxTokens"
  | "seed";

/** What the settings may be for a model. */
export interface Limits extends Record<LimitedSetting, Limit> {
  /** What `targets` may be, with the largest rank on each; several names of linears may be joined by commas. */
  ranks: Record<string, number>;
}

/** What computes. "auto" takes a graphics card if there is a real one, and the processor otherwise. */
export type DeviceChoice = "auto" | "gpu" | "cpu";

/**
 * How the model's matrices are stored while it is in use. "auto" stores them as the file does or, where no run would
 * fit so, in fewer bits; "int8" and "int4" round them to 8 or 4 bits.
 */
export type WeightsChoice = "auto" | "f32" | "f16" | "int8" | "int4";

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
  /** "auto" if the file stores its matrices in more than one format. */
  weights: WeightsChoice;
  weightBytes: number;
  /** Whether the model has a chat template, so that it can read conversations. */
  chatTemplate: boolean;
  /** What there is to say about the checkpoint although it can be used. */
  warnings: Notice[];
  device: {
    kind: "gpu" | "cpu";
    name: string;
    software: boolean;
    maxBindingBytes: number;
    /** How many share each micro-batch. */
    workers: number;
  };
}

export interface Loaded {
  info: ModelInfo;
  defaults: Settings;
  /** Those of full fine-tuning, and how many parameters it trains. */
  fullDefaults: Settings;
  fullSize: number;
  limits: Limits;
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
  /** The rows that steps take: with packing, fewer than there are to train on. */
  packedRows: number;
  /** The tokens that carry loss, in the rows to train on. */
  labels: number;
  /** Whether every row is a conversation. */
  isChat: boolean;
  tokensPerCharacter: number;
  /** 150 steps or three epochs, whichever is more, but at most 2,000. */
  defaultSteps: number;
  warnings: Notice[];
  /**
   * The first rows as the model reads them. `trained` says whether a token carries loss; `tokens` is more than one
   * where several are parts of one character.
   */
  preview: { tokens: { text: string; tokens: number; trained: boolean }[] }[];
}

/** A text as rows, held by the worker that made it. Release it when it is no longer needed. */
export interface Dataset extends DatasetSummary {
  id: number;
}

/** What a run will take. */
export interface Probe {
  msPerStep: number;
  /** Of all held-out rows. */
  msPerEvaluation: number;
  /** To read an adapter back, export it and check it. */
  msPerKeep: number;
  msPerSample: number;
  tokensPerSecond: number;
  /** Of the whole run. */
  etaMs: number;
}

/** What the device does with the plans of a run: a step of full rows, all of whose tokens are learnt. */
export interface Profile {
  /** How many share a step of a run. What is measured is the part of the one that leads, while the others rest. */
  workers: number;
  msPerStep: number;
  /** Of its products: two for every multiply-add. */
  flopsPerStep: number;
  /** What a graphics card does at most, with numbers that are at hand already; null on the processor. */
  mostFlopsPerSecond: number | null;
  /** What part of that a step reaches. */
  share: number | null;
  /** Whether the card itself says when a kernel began and ended. If not, the wait for each counts as well. */
  timestamps: boolean;
  /** Of a step. Those that take longest come first. */
  kernels: KernelTime[];
}

/** What the calls of a kernel in a step take. */
export interface KernelTime {
  kernel: string;
  calls: number;
  ms: number;
  /** Of what all kernels take. */
  share: number;
}

/** PEFT's two files, MLX's two, or the GGUF file of llama.cpp. */
export type AdapterFormat = "peft" | "mlx" | "gguf";

/** A Hugging Face checkpoint, or the one file of llama.cpp. */
export type MergedFormat = "safetensors" | "gguf";

/** How numbers are stored: of safetensors all, f32 or f16; of GGUF those of the matrices. */
export type MergedType = "f32" | "f16" | "q8_0";

/** PEFT's two files of an adapter; those of the other forms are taken too. */
export interface AdapterInput {
  /** adapter_config.json; empty for a GGUF file */
  config: string;
  /** adapter_model.safetensors */
  weights: Uint8Array<ArrayBuffer>;
}

/** What an adapter's files note about their base, compared with the model that is loaded. */
export interface NotedBase {
  /** Empty if they name none. */
  name: string;
  sameName: boolean;
  /** By their hash; null where none is noted. */
  sameWeights: boolean | null;
}

/** What the page says about what a run left. */
interface KeptFacts {
  parameters: number;
  step: number;
  loss: number | null;
  /** Whether it was trained on conversations. */
  isChat: boolean;
  /** What there is to say about files that were opened. */
  warnings: Notice[];
}

/** An adapter, and what the page says about it. */
export interface AdapterFiles extends AdapterInput, KeptFacts {
  method: "lora";
  rank: number;
  alpha: number;
  targets: string[];
}

/** A whole model that full fine-tuning left. */
export interface CheckpointFiles extends KeptFacts {
  method: "full";
  /** model.safetensors */
  weights: Uint8Array<ArrayBuffer>;
  /** Its other files by their names: config.json, tokenizer.json and what else the base has. */
  companions: Record<string, string>;
}

/** What a run leaves. */
export type KeptFiles = AdapterFiles | CheckpointFiles;

export interface GenerateOptions {
  /** A text that is taken as it is, or messages for the model's chat template. */
  prompt: string | Message[];
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

export interface EvaluateOptions {
  batch: number;
  adapter: boolean;
  strength: number;
}

export interface Evaluated {
  /** In nats per token; null if no token carries any. */
  loss: number | null;
  tokens: number;
}

export interface Stats {
  deviceBytes: number;
  devicePeakBytes: number;
  buffers: number;
  pipelines: number;
}

export type Event =
  /** Everything that is needed to repeat the run; again if the run goes on with less memory. */
  | {
      type: "config";
      base: string;
      baseSha256: string;
      /** How the frozen weights are stored. */
      weights: string;
      dataSha256: string;
      /** Of the adapter that the run starts from. */
      initSha256: string | null;
      version: string;
      device: string;
      /** How many share each micro-batch. */
      workers: number;
      rows: number;
      heldOut: number;
      parameters: number;
      /** How the largest products are computed on a graphics card, where that was measured. */
      tuned: TunedProduct[];
      settings: Settings;
    }
  | { type: "phase"; phase: "loading" | "compiling" | "training" | "paused"; done: number; total: number }
  | {
      type: "step";
      /** From 1. */
      step: number;
      /** In nats, the mean over the tokens that are learnt from. */
      loss: number;
      /** Before clipping. */
      gradNorm: number;
      lr: number;
      /** What the step read, without padding. */
      tokens: number;
      tokensPerSecond: number;
      etaMs: number;
    }
  /**
   * On the held-out rows; step 0 is the model before the run. `tokens` are those that the loss is the mean of; it is
   * null if there are none.
   */
  | { type: "eval"; step: number; loss: number | null; tokens: number }
  | { type: "sample"; step: number; prompt: string; text: string }
  | { type: "warning"; code: string; message: string }
  /** The run can be resumed from here. */
  | { type: "checkpoint"; step: number }
  | {
      type: "done";
      step: number;
      baseLoss: number | null;
      bestLoss: number | null;
      bestStep: number;
      reason: "finished" | "early_stop" | "stopped" | "cancelled" | "non_finite";
    };
