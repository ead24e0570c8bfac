/** The JavaScript surface of the wasm, as src/web.rs exports it. */

import type { Calls, Merge, Sums } from "../api/protocol";
import type {
  AdapterFiles,
  AdapterFormat,
  AdapterInput,
  CheckpointFiles,
  Columns,
  DatasetSummary,
  DeviceChoice,
  Evaluated,
  EvaluateOptions,
  Event,
  Foreseen,
  Generated,
  GenerateOptions,
  Limits,
  Memory,
  ModelInfo,
  NotedBase,
  Probe,
  Profile,
  Settings,
  Stats,
  WeightsChoice,
} from "../api/types";
import type { RangeSource, Sharded } from "../api/weights";

export type EngineFiles = EngineCheckpoint | { name: string; gguf: RangeSource };

interface EngineCheckpoint {
  name: string;
  config: Uint8Array;
  tokenizer: Uint8Array;
  tokenizerConfig?: Uint8Array;
  generationConfig?: Uint8Array;
  chatTemplate?: Uint8Array;
  weights: RangeSource | Sharded<RangeSource>;
}

export interface TrainOptions {
  /** The adapter to start from. */
  init?: AdapterInput;
  /** The run state to continue from: its settings are used, and its events are repeated first. */
  resume?: Uint8Array;
  /** Gets the run state: often, at a stop, at a pause and after `save`. */
  onRunState?: (bytes: Uint8Array<ArrayBuffer>) => void;
}

export interface Dataset {
  summary(): DatasetSummary;
  free(): void;
}

/** An engine that helps another. Shapes and tasks are made and read by the engines alone. */
export interface Assistant {
  prepare(shape: unknown): Promise<void>;
  /** Undefined if it was given up. */
  compute(task: unknown, p?: Float32Array): Promise<Sums | undefined>;
  giveUp(): void;
}

/** How an engine reaches one that helps it. "giveUp" returns nothing. */
export type Ask = (
  call: "prepare" | "compute" | "giveUp",
  input?: unknown,
  p?: Float32Array<ArrayBuffer>,
) => Promise<Sums | undefined> | undefined;

/** A checkpoint is without its companions, which the engine does not keep. */
export type Kept = AdapterFiles | Omit<CheckpointFiles, "companions">;

/** With the bytes of the adapter. */
export type EngineMerge = Omit<Merge, "weights"> & { weights: Uint8Array<ArrayBuffer> };

export interface Engine {
  setHelpers(helpers: Ask[]): void;
  info(): ModelInfo;
  defaults(): Settings;
  fullDefaults(): Settings;
  fullSize(): number;
  limits(): Limits;
  dataset(documents: { name: string; bytes: Uint8Array; columns?: Columns }[], settings: Settings): Dataset;
  /** Empty if there is no graphics card. */
  card(): string;
  /** What was measured on the card, for `remember`. */
  measured(): string;
  remember(measured: string): void;
  probe(dataset: Dataset, settings: Settings): Promise<Probe>;
  profile(settings: Settings): Promise<Profile | null>;
  train(
    dataset: Dataset,
    settings: Settings,
    onEvent: (event: Event) => void,
    onAdapter: (adapter: Kept) => void,
    options?: TrainOptions,
  ): Promise<void>;
  stop(keep: boolean): void;
  pause(paused: boolean): void;
  save(): void;
  generate(options: GenerateOptions, onPiece: (text: string) => void): Promise<Generated>;
  evaluate(dataset: Dataset, options: EvaluateOptions): Promise<Evaluated | null>;
  adapter(): Kept;
  setAdapter(config: string, weights: Uint8Array): void;
  exportAdapter(config: string, weights: Uint8Array, format: AdapterFormat): Record<string, Uint8Array<ArrayBuffer>>;
  mergedFiles(files: EngineFiles, merge: EngineMerge): Promise<Calls["merged"]["output"]>;
  writeMerged(
    files: EngineFiles,
    merge: EngineMerge,
    name: string,
    onBytes: (piece: Uint8Array<ArrayBuffer>) => void,
  ): Promise<void>;
  setCheckpoint(weights: Uint8Array): Promise<void>;
  notedBase(config: string, weights: Uint8Array): NotedBase;
  foresee(files: EngineFiles, stored: WeightsChoice, changes: Partial<Settings>): Promise<Foreseen>;
  adapterSize(rank: number, targets: string): number;
  memory(settings: Settings): Promise<Memory>;
  logits(ids: Uint32Array): Promise<Float32Array>;
  stats(): Stats;
}

/** The module that wasm-bindgen writes. */
export interface Program {
  default(input: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  companions(files: EngineFiles): Promise<Record<string, string>>;
  columnNames(name: string, bytes: Uint8Array): string[];
  Assistant: { create(files: EngineFiles, stored: WeightsChoice): Promise<Assistant> };
  Engine: {
    create(
      files: EngineFiles,
      onEvent: (event: Event) => void,
      device: DeviceChoice,
      stored: WeightsChoice,
    ): Promise<Engine>;
  };
}
