/** One worker of this package, in promises: calls and what they report, wishes, and the worker's end. */

import { LoraError, loraError } from "./errors";
import { PROGRAM } from "./fetch_program";
import { persist, unfetched } from "./fetching";
import { openWorker, type WorkerSource } from "./host";
import type { Call, Calls, FromWorker, Note, ToWorker } from "./protocol";

interface Pending {
  resolve(value: unknown): void;
  reject(error: LoraError): void;
  onNote(note: Note): void;
}

export class Link {
  /** Resolves when the engine is gone: it trapped, or its device was lost. Every open call is rejected first. */
  readonly lost: Promise<LoraError>;
  #worker: Worker;
  #pending = new Map<number, Pending>();
  #calls = 0;
  #gone: LoraError | undefined;
  #reportLost: (error: LoraError) => void = () => {};

  /** Starts a worker, or takes one that runs. */
  static async start(source?: WorkerSource): Promise<Link> {
    if (typeof Worker === "function" && source instanceof Worker) return new Link(source);
    return new Link(await persist(() => startWorker(source)));
  }

  private constructor(worker: Worker) {
    this.lost = new Promise((resolve) => {
      this.#reportLost = resolve;
    });
    this.#worker = worker;
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onerror = (event) => this.die(trapped(event.message));
  }

  call<C extends Call>(
    call: C,
    input: Calls[C]["input"],
    onNote: (note: Note) => void = () => {},
    transfer: Transferable[] = [],
  ): Promise<Calls[C]["output"]> {
    if (this.#gone) return Promise.reject(this.#gone);
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.send({ id, call, input } as ToWorker, transfer);
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject, onNote });
    });
  }

  send(message: ToWorker, transfer: Transferable[] = []) {
    this.#worker.postMessage(message, transfer);
  }

  /** Ends the worker, which was not asked to. */
  die(error: LoraError) {
    if (this.#gone) return;
    this.end(error);
    this.#reportLost(error);
  }

  /** Ends the worker; every open call is rejected with this error. */
  end(error: LoraError) {
    this.#gone ??= error;
    this.#worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  #receive(message: FromWorker) {
    if (message.type === "started") return;
    if (message.type === "dead") return this.die(trapped(message.message));
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    if (message.type === "note") return pending.onNote(message.note);
    this.#pending.delete(message.id);
    if (message.type === "result") return pending.resolve(message.value);
    const error = loraError(message.error);
    pending.reject(error);
    if (error.code === "device_lost") this.die(error);
  }
}

/** Resolves when the worker's script runs. */
function startWorker(source?: WorkerSource): Promise<Worker> {
  const worker = openWorker(source);
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
    "Start again, or resume from the last saved state.",
  );
}
