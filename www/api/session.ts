/** The client of the engine, in promises: a worker that has a model, and on the processor others that help it. */

import { LoraError, loraError, type PlainError } from "./errors";
import type { WorkerSource } from "./host";
import type { KeptAdapter } from "./kept_store";
import { Link } from "./link";
import type { Merge, Training } from "./protocol";
import { gather, workersFor } from "./team";
import type {
  AdapterFiles,
  AdapterFormat,
  AdapterInput,
  Dataset,
  DeviceChoice,
  EvaluateOptions,
  Event,
  GenerateOptions,
  KeptFiles,
  Loaded,
  Settings,
  TextDocument,
  WeightsChoice,
} from "./types";
import type { ModelFiles } from "./weights";

export interface LoadOptions {
  device?: DeviceChoice;
  weights?: WeightsChoice;
  /** How many workers share the work if the processor does it; by default, half the machine's threads, at most 8. */
  workers?: number;
  /** Gets the progress of loading. */
  onEvent?(event: Event): void;
}

export interface TrainOptions extends Omit<Training, "dataset" | "settings"> {
  /** The run was written to the browser's storage as it was at this step. */
  onSaved?(step: number): void;
  /** It could not be written; the run goes on. */
  onUnsaved?(error: PlainError): void;
  /** Gets the states that `states` asks for. */
  onState?(state: Uint8Array<ArrayBuffer>): void;
  /** The adapter of the run that is over was written to the browser's storage. */
  onKept?(kept: KeptAdapter): void;
  onUnkept?(error: PlainError): void;
}

/** Ids of datasets differ between sessions, so that no session takes another's for its own. */
let datasets = 0;

export class Session {
  #leader: Link;
  #source: WorkerSource | undefined;
  #helpers: Link[] = [];

  /** Starts a worker; by default, with the script that comes with the client. */
  static async start(source?: WorkerSource): Promise<Session> {
    return new Session(await Link.start(source), source);
  }

  private constructor(leader: Link, source: WorkerSource | undefined) {
    this.#leader = leader;
    this.#source = source;
    this.lost.then((error) => this.#end(error));
  }

  /** Resolves when the engine is gone: it trapped, or its device was lost. Every open call is rejected first. */
  get lost(): Promise<LoraError> {
    return this.#leader.lost;
  }

  async load(
    program: WebAssembly.Module,
    files: ModelFiles,
    { device = "auto", weights = "auto", workers, onEvent = () => {} }: LoadOptions = {},
  ): Promise<Loaded> {
    const loaded = await this.#leader.call("load", { program, files, device, weights }, (note) => {
      if (note.type === "event") onEvent(note.event);
    });
    const count = workersFor(loaded.info, workers) - 1;
    if (count === 0) return loaded;
    try {
      const { helpers, info } = await gather(this.#leader, count, program, files, loaded.info.weights, this.#source);
      this.#helpers = helpers;
      for (const helper of helpers) helper.lost.then((error) => this.#leader.die(error));
      return { ...loaded, info };
    } catch (error) {
      const reason = loraError(error).message;
      const message = `One worker computes alone, because the others could not be started: ${reason}.`;
      return { ...loaded, info: { ...loaded.info, warnings: [...loaded.info.warnings, { code: "alone", message }] } };
    }
  }

  /** Cuts a text into rows, which the worker holds until `release`. Whoever asked for a dataset releases it. */
  async dataset(documents: TextDocument[], settings: Settings): Promise<Dataset> {
    const id = ++datasets;
    return { id, ...(await this.#leader.call("dataset", { id, documents, settings })) };
  }

  /** The names of a table's columns, or the keys of the first record; none for running text. */
  columnNames(document: TextDocument) {
    return this.#leader.call("columnNames", document);
  }

  /** A run that uses the dataset is not disturbed. */
  release({ id }: Dataset) {
    return this.#leader.call("release", id);
  }

  /** What the parts of a run take, measured in a short one, which is then forgotten. */
  probe({ id }: Dataset, settings: Settings) {
    return this.#leader.call("probe", { dataset: id, settings });
  }

  /** How fast the device is with the plans of a run, and which kernels take the time. Null if it was stopped. */
  profile(settings: Settings) {
    return this.#leader.call("profile", settings);
  }

  /** `onAdapter` gets every adapter or checkpoint that is the best so far; the last one it got survives the worker. */
  train(
    { id }: Dataset,
    settings: Settings,
    onEvent: (event: Event) => void,
    onAdapter: (adapter: KeptFiles) => void,
    { onSaved, onUnsaved, onState, onKept, onUnkept, ...options }: TrainOptions = {},
  ) {
    return this.#leader.call("train", { dataset: id, settings, ...options }, (note) => {
      if (note.type === "event") onEvent(note.event);
      if (note.type === "adapter") onAdapter(note.adapter);
      if (note.type === "saved") onSaved?.(note.step);
      if (note.type === "unsaved") onUnsaved?.(note.error);
      if (note.type === "state") onState?.(note.state);
      if (note.type === "kept") onKept?.(note.kept);
      if (note.type === "unkept") onUnkept?.(note.error);
    });
  }

  generate(options: GenerateOptions, onPiece: (text: string) => void) {
    return this.#leader.call("generate", options, (note) => {
      if (note.type === "piece") onPiece(note.text);
    });
  }

  /** The mean loss over all rows of the dataset, or null if it was stopped. */
  evaluate({ id }: Dataset, options: EvaluateOptions) {
    return this.#leader.call("evaluate", { dataset: id, options });
  }

  /** What the last run left, or what was loaded. */
  kept() {
    return this.#leader.call("adapter", undefined);
  }

  /** The same where it is an adapter. */
  async adapter(): Promise<AdapterFiles> {
    const kept = await this.kept();
    if (kept.method === "lora") return kept;
    throw new LoraError(
      "adapter",
      "full fine-tuning left a whole model, not an adapter",
      "Train with the method lora.",
    );
  }

  setAdapter(config: string, weights: Uint8Array<ArrayBuffer>) {
    return this.#leader.call("setAdapter", { config, weights });
  }

  /** The weights of a model that full fine-tuning of this one left. */
  setCheckpoint(weights: Uint8Array<ArrayBuffer>) {
    return this.#leader.call("setCheckpoint", weights);
  }

  /** Writes it to the browser's storage, in the place of the one with its id. */
  keep(kept: KeptAdapter) {
    return this.#leader.call("keep", kept);
  }

  /** An adapter's files in another format, by their names. */
  exportAdapter(adapter: AdapterInput, format: AdapterFormat) {
    return this.#leader.call("exportAdapter", { ...adapter, format });
  }

  /** The files of the model with an adapter merged into it. */
  merged(merge: Merge) {
    return this.#leader.call("merged", merge);
  }

  openMerged(id: number, merge: Merge, name: string) {
    return this.#leader.call("openMerged", { id, merge, name });
  }

  /** The next piece of such a file; null at its end. */
  readMerged(id: number) {
    return this.#leader.call("readMerged", id);
  }

  closeMerged(id: number) {
    return this.#leader.call("closeMerged", id);
  }

  /** Puts back what a run left. */
  setKept(kept: KeptFiles) {
    if (kept.method === "full") return this.setCheckpoint(kept.weights);
    return this.setAdapter(kept.config, kept.weights);
  }

  /** What an adapter's files note about their base, beside the loaded one. Files that do not fit it are errors. */
  notedBase(adapter: AdapterInput) {
    return this.#leader.call("notedBase", adapter);
  }

  /** How many parameters an adapter of this model has. */
  adapterSize(rank: number, targets: string) {
    return this.#leader.call("adapterSize", { rank, targets });
  }

  /** The memory of a run with these settings, in bytes on the device. */
  memory(settings: Settings) {
    return this.#leader.call("memory", settings);
  }

  /**
   * What a run of a model would take in the place of this one, with its default settings but for some. Nothing of it is
   * loaded; what could not be loaded is refused.
   */
  foresee(files: ModelFiles, weights: WeightsChoice, settings: Partial<Settings> = {}) {
    return this.#leader.call("foresee", { files, weights, settings });
  }

  /** Logits of the base with the kept adapter, one row of the vocabulary's size per id. */
  logits(ids: number[]) {
    return this.#leader.call("logits", ids);
  }

  stats() {
    return this.#leader.call("stats", undefined);
  }

  /** Ends the running `train`, `generate` or `evaluate` within a step, a token or a batch. */
  stop(keep: boolean) {
    this.#leader.send({ call: "stop", keep });
  }

  /** Ends `profile` within a step, or before it begins. */
  stopProfile() {
    this.#leader.send({ call: "stopProfile" });
  }

  /** Pauses the running `train` within a step, or lets it go on. */
  pause(paused: boolean) {
    this.#leader.send({ call: "pause", paused });
  }

  /** Has the running `train` save its state after the step under way. */
  save() {
    this.#leader.send({ call: "save" });
  }

  close() {
    this.#end(new LoraError("closed", "the session was closed", "Start a new session."));
  }

  #end(error: LoraError) {
    for (const link of [this.#leader, ...this.#helpers]) link.end(error);
  }
}
