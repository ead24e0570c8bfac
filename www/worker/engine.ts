/** The JavaScript surface of the wasm, as src/web.rs exports it. */

import type {
  AdapterFiles,
  DatasetSummary,
  Event,
  Generated,
  GenerateOptions,
  ModelInfo,
  Probe,
  Settings,
  Stats,
} from "../api/events";
import type { RangeSource } from "../api/weights";
import type { AdapterInput } from "./protocol";

export interface EngineFiles {
  name: string;
  config: Uint8Array;
  tokenizer: Uint8Array;
  tokenizerConfig?: Uint8Array;
  generationConfig?: Uint8Array;
  chatTemplate?: Uint8Array;
  weights: RangeSource;
}

export interface TrainOptions {
  /** Where the adapter starts. */
  init?: AdapterInput;
  /** A checkpoint to go on from; its settings count, and its events are told again first. */
  resume?: Uint8Array;
  /** Hears of a checkpoint every half a minute, on stop and on pause. */
  onCheckpoint?: (bytes: Uint8Array<ArrayBuffer>) => void;
}

export interface Engine {
  info(): ModelInfo;
  defaults(): Settings;
  dataset(documents: { name: string; bytes: Uint8Array }[], settings: Settings): DatasetSummary;
  probe(settings: Settings): Promise<Probe>;
  train(
    settings: Settings,
    onEvent: (event: Event) => void,
    onAdapter: (adapter: AdapterFiles) => void,
    options?: TrainOptions,
  ): Promise<void>;
  stop(keep: boolean): void;
  pause(paused: boolean): void;
  generate(options: GenerateOptions, onPiece: (text: string) => void): Promise<Generated>;
  adapter(): AdapterFiles;
  setAdapter(config: string, weights: Uint8Array): void;
  logits(ids: Uint32Array): Promise<Float32Array>;
  stats(): Stats;
}

/** The module wasm-bindgen writes. */
export interface Program {
  default(input: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  Engine: { create(files: EngineFiles, onEvent: (event: Event) => void): Promise<Engine> };
}
