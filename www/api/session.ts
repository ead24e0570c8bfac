/** The client of the worker, in promises: one `Session` is one worker with one engine in it. */

import { wasmUrl, workerUrl } from "./assets";
import { LoraError, loraError, type PlainError } from "./errors";
import { type Count, fetchThing, persist, unfetched } from "./fetching";
import type { KeptAdapter } from "./kept_store";
import type { Call, Calls, FromWorker, Note, ToWorker, Training } from "./protocol";
import type {
  AdapterFiles,
  AdapterInput,
  Dataset,
  DeviceChoice,
  Event,
  GenerateOptions,
  Loaded,
  Settings,
  TextDocument,
} from "./types";
import type { ModelFiles } from "./weights";

interface Pending {
  resolve(value: unknown): void;
  reject(error: LoraError): void;
  onNote(note: Note): void;
}

export interface LoadOptions {
  device?: DeviceChoice;
  /** Gets the progress of loading. */
  onEvent?(event: Event): void;
}

export interface TrainOptions extends Omit<Training, "dataset" | "settings"> {
  /** The run was written to the browser's storage as it was at this step. */
  onSaved?(step: number): void;
  /** It could not be written; the run goes on. */
  onUnsaved?(error: PlainError): void;
  /** The adapter of the run that is over was written to the browser's storage. */
  onKept?(kept: KeptAdapter): void;
  onUnkept?(error: PlainError): void;
}

const PROGRAM = "the program behind the page";

/** Fetches and compiles the wasm once: a new session after a trap starts from the same program, without a request. */
export function fetchProgram(count?: Count): Promise<WebAssembly.Module> {
  return fetchThing(PROGRAM, wasmUrl, compiled, count);
}

async function compiled(response: Response): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compileStreaming(response);
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    throw new LoraError(
      "program",
      `${PROGRAM} does not run in this browser (${error.message})`,
      "Update the browser, or use a current Chrome or Edge.",
    );
  }
}

/** Ids of datasets differ between sessions, so that no session takes another's for its own. */
let datasets = 0;

export class Session {
  /** Resolves when the engine is gone: it trapped, or the graphics card was lost. Every open call is rejected first. */
  readonly lost: Promise<LoraError>;
  #worker: Worker;
  #pending = new Map<number, Pending>();
  #calls = 0;
  #gone: LoraError | undefined;
  #reportLost: (error: LoraError) => void = () => {};

  /** Starts a worker. */
  static async start(): Promise<Session> {
    return new Session(await persist(startWorker));
  }

  private constructor(worker: Worker) {
    this.lost = new Promise((resolve) => {
      this.#reportLost = resolve;
    });
    this.#worker = worker;
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onerror = (event) => this.#die(trapped(event.message));
  }

  load(
    program: WebAssembly.Module,
    files: ModelFiles,
    { device = "auto", onEvent = () => {} }: LoadOptions = {},
  ): Promise<Loaded> {
    return this.#call("load", { program, files, device }, (note) => {
      if (note.type === "event") onEvent(note.event);
    });
  }

  /** Cuts a text into rows, which the worker holds until `release`. Whoever asked for a dataset releases it. */
  async dataset(documents: TextDocument[], settings: Settings): Promise<Dataset> {
    const id = ++datasets;
    return { id, ...(await this.#call("dataset", { id, documents, settings })) };
  }

  /** The names of a table's columns, or the keys of the first record; none for running text. */
  columnNames(document: TextDocument) {
    return this.#call("columnNames", document);
  }

  /** A run that uses the dataset is not disturbed. */
  release({ id }: Dataset) {
    return this.#call("release", id);
  }

  /** What the parts of a run take, measured in a short one, which is then forgotten. */
  probe({ id }: Dataset, settings: Settings) {
    return this.#call("probe", { dataset: id, settings });
  }

  /** `onAdapter` gets every adapter that is the best so far; the last one it got survives the worker. */
  train(
    { id }: Dataset,
    settings: Settings,
    onEvent: (event: Event) => void,
    onAdapter: (adapter: AdapterFiles) => void,
    { onSaved, onUnsaved, onKept, onUnkept, ...options }: TrainOptions = {},
  ) {
    return this.#call("train", { dataset: id, settings, ...options }, (note) => {
      if (note.type === "event") onEvent(note.event);
      if (note.type === "adapter") onAdapter(note.adapter);
      if (note.type === "saved") onSaved?.(note.step);
      if (note.type === "unsaved") onUnsaved?.(note.error);
      if (note.type === "kept") onKept?.(note.kept);
      if (note.type === "unkept") onUnkept?.(note.error);
    });
  }

  generate(options: GenerateOptions, onPiece: (text: string) => void) {
    return this.#call("generate", options, (note) => {
      if (note.type === "piece") onPiece(note.text);
    });
  }

  adapter() {
    return this.#call("adapter", undefined);
  }

  setAdapter(config: string, weights: Uint8Array<ArrayBuffer>) {
    return this.#call("setAdapter", { config, weights });
  }

  /** What an adapter's files note about their base, beside the loaded one. Files that do not fit it are errors. */
  notedBase(adapter: AdapterInput) {
    return this.#call("notedBase", adapter);
  }

  /** How many parameters an adapter of this model has. */
  adapterSize(rank: number, targets: string) {
    return this.#call("adapterSize", { rank, targets });
  }

  /** How many parameters a model has. Nothing of it is loaded, but what could not be loaded is refused. */
  modelSize({ config, weights }: Pick<ModelFiles, "config" | "weights">) {
    return this.#call("modelSize", { config, weights });
  }

  /** Logits of the base with the kept adapter, one row of the vocabulary's size per id. */
  logits(ids: number[]) {
    return this.#call("logits", ids);
  }

  stats() {
    return this.#call("stats", undefined);
  }

  /** Ends the running `train` or `generate` within a step or a token. */
  stop(keep: boolean) {
    this.#send({ call: "stop", keep });
  }

  /** Pauses the running `train` within a step, or lets it go on. */
  pause(paused: boolean) {
    this.#send({ call: "pause", paused });
  }

  /** Has the running `train` save its state after the step under way. */
  save() {
    this.#send({ call: "save" });
  }

  close() {
    this.#end(new LoraError("closed", "the session was closed", "Start a new session."));
  }

  #call<C extends Call>(
    call: C,
    input: Calls[C]["input"],
    onNote: (note: Note) => void = () => {},
  ): Promise<Calls[C]["output"]> {
    if (this.#gone) return Promise.reject(this.#gone);
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject, onNote });
      this.#send({ id, call, input } as ToWorker);
    });
  }

  #send(message: ToWorker) {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker) {
    if (message.type === "started") return;
    if (message.type === "dead") return this.#die(trapped(message.message));
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    if (message.type === "note") return pending.onNote(message.note);
    this.#pending.delete(message.id);
    if (message.type === "result") return pending.resolve(message.value);
    const error = loraError(message.error);
    pending.reject(error);
    if (error.code === "device_lost") this.#die(error);
  }

  #die(error: LoraError) {
    if (this.#gone) return;
    this.#end(error);
    this.#reportLost(error);
  }

  #end(error: LoraError) {
    this.#gone = error;
    this.#worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

/** Resolves when the worker's script runs. */
function startWorker(): Promise<Worker> {
  const worker = new Worker(trustedWorkerUrl(), { type: "module", name: "tabtune" });
  return new Promise((resolve, reject) => {
    const fail = (error: LoraError) => {
      worker.terminate();
      reject(error);
    };
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (data.type === "dead") fail(trapped(data.message));
      else resolve(worker);
    };
    // A script that could not be fetched is an event without a message.
    worker.onerror = ({ message }) => fail(message ? trapped(message) : unfetched(PROGRAM));
  });
}

function trapped(message: string): LoraError {
  return new LoraError(
    "engine_lost",
    `the engine stopped: ${message}`,
    "Start again; the best adapter so far is kept.",
  );
}

/** `new Worker` is a Trusted Types sink: the page allows one policy, made once, and that policy knows one address. */
const policy = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy("tabtune-worker", {
  createScriptURL: () => workerUrl,
});

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(): string }): { createScriptURL(input: string): unknown };
}

function trustedWorkerUrl(): string {
  return (policy?.createScriptURL("") ?? workerUrl) as string;
}
