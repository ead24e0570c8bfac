/** What the page and the worker say to each other: one request, then notes about it, then one answer. */

import type { PlainError } from "../api/errors";
import type {
  AdapterFiles,
  DatasetSummary,
  Event,
  Generated,
  GenerateOptions,
  Loaded,
  Probe,
  Settings,
  Stats,
} from "../api/events";
import type { ModelFiles } from "../api/weights";
import type { RunRecord } from "./vault";

export interface TextDocument {
  name: string;
  content: Blob;
}

/** PEFT's two files. */
export interface AdapterInput {
  config: string;
  weights: Uint8Array<ArrayBuffer>;
}

export interface Training {
  settings: Settings;
  init?: AdapterInput;
  /** A checkpoint to go on from. */
  resume?: Uint8Array<ArrayBuffer>;
  /** With it, the run is kept in the browser's storage while it goes on. */
  record?: RunRecord;
}

/** Every call the worker answers. `load` comes first; calls are answered one after the other. */
export interface Calls {
  load: { input: { program: WebAssembly.Module; files: ModelFiles }; output: Loaded };
  dataset: { input: { documents: TextDocument[]; settings: Settings }; output: DatasetSummary };
  probe: { input: Settings; output: Probe };
  train: { input: Training; output: undefined };
  generate: { input: GenerateOptions; output: Generated };
  adapter: { input: undefined; output: AdapterFiles };
  setAdapter: { input: AdapterInput; output: undefined };
  logits: { input: number[]; output: Float32Array };
  stats: { input: undefined; output: Stats };
}

export type Call = keyof Calls;

export type Request = { [C in Call]: { id: number; call: C; input: Calls[C]["input"] } }[Call];

/** Overtakes the queue: what it asks of the running `train` or `generate` happens within a step or a token. */
export type Wish = { call: "stop"; keep: boolean } | { call: "pause"; paused: boolean };

export type ToWorker = Request | Wish;

/** What a call may say before it is answered. */
export type Note =
  | { type: "event"; event: Event }
  | { type: "adapter"; adapter: AdapterFiles }
  | { type: "piece"; text: string }
  /** The run was written to the browser's storage as it was at this step, or could not be. */
  | { type: "saved"; step: number }
  | { type: "unsaved"; error: PlainError };

export type FromWorker =
  | { type: "note"; id: number; note: Note }
  | { type: "answer"; id: number; value: unknown }
  | { type: "failure"; id: number; error: PlainError }
  /** The engine trapped: nothing this worker says after it can be trusted. */
  | { type: "dead"; message: string };
