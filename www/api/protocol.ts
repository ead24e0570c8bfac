/** What a session and its worker say to each other: one request, then notes about it, then one reply. */

import type { PlainError } from "./errors";
import type { KeptAdapter } from "./kept_store";
import type { RunRecord } from "./run_store";
import type {
  AdapterFormat,
  AdapterInput,
  DatasetSummary,
  DeviceChoice,
  Evaluated,
  EvaluateOptions,
  Event,
  Foreseen,
  Generated,
  GenerateOptions,
  KeptFiles,
  Loaded,
  Memory,
  MergedFormat,
  MergedType,
  ModelInfo,
  NotedBase,
  Notice,
  Probe,
  Profile,
  Settings,
  Stats,
  TextDocument,
  WeightsChoice,
} from "./types";
import type { ModelFiles } from "./weights";

/** An adapter that is merged into the model's files, and what becomes of them. */
export interface Merge {
  config: string;
  /** As a blob, it is not copied for every file. */
  weights: Blob;
  strength: number;
  format: MergedFormat;
  type?: MergedType;
}

export interface Training {
  /** The id of a dataset. */
  dataset: number;
  settings: Settings;
  init?: AdapterInput;
  /** The run state to continue from. */
  resume?: Uint8Array<ArrayBuffer>;
  /** With it, the run is kept in the browser's storage until it is over, and then its adapter is. */
  record?: RunRecord;
  /** Whether the states of the run are told. */
  states?: boolean;
}

/** Every call that a worker serves. `load` comes first; calls are served one after the other. */
export interface Calls {
  load: {
    input: { program: WebAssembly.Module; files: ModelFiles; device: DeviceChoice; weights: WeightsChoice };
    output: Loaded;
  };
  /** Instead of `load`: from then on, the worker helps the one at the other end of the port. */
  assist: {
    input: {
      program: WebAssembly.Module;
      files: ModelFiles;
      /** As the leader stores them. */
      stored: WeightsChoice;
      port: MessagePort;
    };
    output: undefined;
  };
  /** The workers at the other ends help. */
  lead: { input: MessagePort[]; output: ModelInfo };
  /** The worker keeps the dataset under the given id until it is released. */
  dataset: { input: { id: number; documents: TextDocument[]; settings: Settings }; output: DatasetSummary };
  /** The names to choose columns from; none for running text. */
  columnNames: { input: TextDocument; output: string[] };
  release: { input: number; output: undefined };
  probe: { input: { dataset: number; settings: Settings }; output: Probe };
  /** Null if it was stopped. */
  profile: { input: Settings; output: Profile | null };
  train: { input: Training; output: undefined };
  generate: { input: GenerateOptions; output: Generated };
  /** Null if it was stopped. */
  evaluate: { input: { dataset: number; options: EvaluateOptions }; output: Evaluated | null };
  adapter: { input: undefined; output: KeptFiles };
  setAdapter: { input: AdapterInput; output: undefined };
  /** Writes the adapter to the browser's storage. */
  keep: { input: KeptAdapter; output: undefined };
  /** The adapter's files in a format, by their names. */
  exportAdapter: { input: AdapterInput & { format: AdapterFormat }; output: Record<string, Uint8Array<ArrayBuffer>> };
  setCheckpoint: { input: Uint8Array<ArrayBuffer>; output: undefined };
  notedBase: { input: AdapterInput; output: NotedBase };
  /** The files of the model with an adapter merged into it. */
  merged: { input: Merge; output: { files: { name: string; bytes: number }[]; warnings: Notice[] } };
  /** Opens one of them under an id that the reader chooses; a piece is computed when it is read. Null is the end. */
  openMerged: { input: { id: number; merge: Merge; name: string }; output: undefined };
  readMerged: { input: number; output: Uint8Array<ArrayBuffer> | null };
  closeMerged: { input: number; output: undefined };
  adapterSize: { input: { rank: number; targets: string }; output: number };
  memory: { input: Settings; output: Memory };
  foresee: { input: { files: ModelFiles; weights: WeightsChoice; settings: Partial<Settings> }; output: Foreseen };
  logits: { input: number[]; output: Float32Array };
  stats: { input: undefined; output: Stats };
}

export type Call = keyof Calls;

export type Request = { [C in Call]: { id: number; call: C; input: Calls[C]["input"] } }[Call];

/** Overtakes the queue: what it asks of the running `train` or `generate` happens within a step or a token. */
export type Wish = { call: "stop"; keep: boolean } | { call: "pause"; paused: boolean };

/** Has the running `train` save its state after the step under way. */
export interface SaveWish {
  call: "save";
}

/** Ends the `profile` that was asked for, whether it is running or still waits for other calls. */
export interface StopProfileWish {
  call: "stopProfile";
}

export type ToWorker = Request | Wish | SaveWish | StopProfileWish;

/** What a call may report before it is over. */
export type Note =
  | { type: "event"; event: Event }
  | { type: "adapter"; adapter: KeptFiles }
  | { type: "piece"; text: string }
  /** The run was written to the browser's storage as it was at this step, or could not be. */
  | { type: "saved"; step: number }
  | { type: "unsaved"; error: PlainError }
  /** The run can be resumed from this, the newest of its states. */
  | { type: "state"; state: Uint8Array<ArrayBuffer> }
  /** The run is over, and its adapter was written to the browser's storage, or could not be. */
  | { type: "kept"; kept: KeptAdapter }
  | { type: "unkept"; error: PlainError };

/** What a leader asks of a helper, through their port. A task that is given up has no sums. */
export type ToHelper =
  | { id: number; call: "prepare"; input: unknown }
  | { id: number; call: "compute"; input: unknown; p: Float32Array<ArrayBuffer> | undefined }
  | { call: "giveUp" };

/** The sums of a task: Σ -log p, the number of labels, and the gradient. */
export interface Sums {
  loss: number;
  labels: number;
  gradient: Float32Array<ArrayBuffer>;
}

export type FromHelper = { id: number; value: Sums | undefined } | { id: number; error: PlainError };

export type FromWorker =
  /** The worker's script runs; everything else answers a request. */
  | { type: "started" }
  | { type: "note"; id: number; note: Note }
  | { type: "result"; id: number; value: unknown }
  | { type: "failure"; id: number; error: PlainError }
  /** The engine trapped: nothing this worker says after that can be trusted. */
  | { type: "dead"; message: string };
