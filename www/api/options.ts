/** The options of every call of the package. */

import type { FullCheckpoint } from "./full_checkpoint";
import type { TrustedAddress } from "./host";
import type { Progress } from "./hub";
import type { LoraAdapter, WriteFiles } from "./lora_adapter";
import type { ModelSource } from "./model_source";
import type {
  AdapterFormat,
  Columns,
  DeviceChoice,
  MergedFormat,
  MergedType,
  Method,
  Settings,
  WeightsChoice,
} from "./types";

/** What a run is like. What is left out has the model's defaults. */
export interface LoraSettings
  extends Omit<Settings, "method" | "steps" | "prompt" | "sampleEvery" | "maxTokens" | "holdoutAtMost"> {
  /** By default 150 or three epochs, whichever is more, but at most 2,000. */
  maxSteps: number;
  /** Has the model continue a prompt while it learns: by default, six times in a run. */
  sample: { prompt?: string; every?: number; maxTokens?: number };
}

export interface CreateOptions extends Partial<LoraSettings> {
  model: ModelSource;
  /** Of a model of the Hub: a branch, a tag or a commit. What is stored of a commit is opened without a request. */
  revision?: string;
  /** The address of another Hub than `https://huggingface.co`. */
  hub?: string;
  /** For models that the Hub does not give to everybody. It goes to the Hub alone, and is not stored. */
  token?: string;
  device?: DeviceChoice;
  weights?: WeightsChoice;
  /** How many workers share the work if the processor does it; by default, half the machine's threads, at most 8. */
  workers?: number;
  signal?: AbortSignal;
  /** Gets what dispatches `downloadprogress` events, each a `DownloadProgress`. */
  monitor?(progress: EventTarget): void;
  /** Where the engine's files are, if not beside the package's script. */
  wasmUrl?: string | URL;
  workerUrl?: string | URL | TrustedAddress;
  downloadUrl?: string | URL | TrustedAddress;
  /** A worker that runs the package's worker script; it is terminated with the model. */
  worker?: Worker;
}

export interface DownloadProgress extends Event {
  /** In bytes, unpacked, of the engine and the model together. */
  loaded: number;
  /** How far a model of the Hub is. */
  download?: Progress | undefined;
}

export interface DatasetOptions extends Partial<Pick<LoraSettings, "seqLen" | "holdout" | "packing">> {
  /** The name of a text that is no file: its ending says what it is. By default `text.txt`. */
  name?: string;
  /** The columns of a table, or the keys of records, that hold the text, if their names are not known ones. */
  columns?: Columns;
  signal?: AbortSignal;
}

/** How long the rows are, how many are held out and whether they are shared is settled when a dataset is made. */
export interface TrainOptions extends Partial<Omit<LoraSettings, "seqLen" | "holdout" | "packing">> {
  /** `lora`, or `full`: then every matrix of the model's layers learns, and `run.checkpoint` is a whole model. */
  method?: Method;
  /** The adapter to start from; the run has its rank, alpha and targets. */
  adapter?: LoraAdapter;
  signal?: AbortSignal;
}

export interface ResumeOptions {
  signal?: AbortSignal;
}

export interface AdapterOptions {
  /** Without one, the base is asked alone. */
  adapter?: LoraAdapter;
  /** What full fine-tuning of this model left: it is asked in the place of the base. */
  checkpoint?: FullCheckpoint;
  /** A factor on the adapter: 0 is the base alone, 1 is the adapter as it was trained. */
  strength?: number;
  signal?: AbortSignal;
}

export interface BlobOptions {
  format?: AdapterFormat;
  /** What writes the files, unless they are PEFT's as they are. */
  model?: { exportAdapter: WriteFiles };
}

export interface MergeOptions {
  adapter: LoraAdapter;
  /** A factor on the adapter: 0 is the base alone, 1 is the adapter as it was trained. */
  strength?: number;
  /** By default `safetensors`. */
  format?: MergedFormat;
  /**
   * By default, a checkpoint keeps the files and the number formats of its base, and what is GGUF, or comes from it, is
   * in f16. `q8_0` is for GGUF alone.
   */
  type?: MergedType;
  /** Ends what is read of the files, too. */
  signal?: AbortSignal;
}

export interface SamplingOptions extends AdapterOptions {
  /** By default 128. */
  maxTokens?: number;
  /** By default 1. */
  seed?: number;
  /** By default 0.7; 0 takes the likeliest token every time. */
  temperature?: number;
  /** By default 40; 0: no limit. */
  topK?: number;
  /** By default 1: no limit. */
  topP?: number;
}

export interface MeasureOptions extends AdapterOptions {
  batch?: number;
}
