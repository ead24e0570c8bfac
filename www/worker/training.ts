/** A run in the worker: its events go to the page, its states and in the end its adapter to the browser's storage. */

import { plainError } from "../api/errors";
import { type KeptAdapter, nameFor, writeKept } from "../api/kept_store";
import type { Note, Training } from "../api/protocol";
import { forgetRun, type RunRecord, writeRun } from "../api/run_store";
import { answered } from "../api/storage";
import type { Event, KeptFiles } from "../api/types";
import type { Dataset, Engine, Kept } from "./program";
import { keepTuned } from "./tuned";

/** `begun` is called at the first event: from then on the engine listens to wishes. `companions` are a checkpoint's. */
export async function train(
  engine: Engine,
  dataset: Dataset,
  { settings, init, resume, record, states }: Training,
  tell: (note: Note) => void,
  begun: () => void,
  companions: Record<string, string>,
) {
  const saving = record && new Saving(record, tell);
  const save = (state: Uint8Array<ArrayBuffer>) => {
    saving?.write(state);
    if (states) tell({ type: "state", state });
  };
  let last: Event | undefined;
  let best: KeptFiles | undefined;
  const running = engine.train(
    dataset,
    settings,
    (event) => {
      begun();
      last = event;
      // What there was to measure has been measured.
      if (event.type === "config") keepTuned(engine);
      saving?.watch(event);
      tell({ type: "event", event });
    },
    (kept) => {
      best = whole(kept, companions);
      tell({ type: "adapter", adapter: best });
    },
    {
      ...(init ? { init } : {}),
      ...(resume ? { resume } : {}),
      ...(saving || states ? { onRunState: save } : {}),
    },
  );
  // Once the page hears of the end, it may read what was saved.
  await running.finally(() => saving?.written);
  if (!record || last?.type !== "done") return;
  // A run that was stopped can continue; of one that is over, only the adapter stays.
  const isOver = last.reason !== "stopped";
  if (best && last.reason !== "cancelled") {
    const { name, sha256, parameters, chatTemplate } = engine.info();
    const model = { name, sha256, parameters, chatTemplate };
    const { id, text } = record;
    const textBytes = text.documents.reduce((sum, { content }) => sum + content.size, 0);
    await keep({ id, text: text.name, textBytes, model, keptAt: Date.now(), adapter: best }, isOver, tell);
  }
  if (isOver) await answered(forgetRun());
}

/** A checkpoint with the files that belong to it. */
export function whole(kept: Kept, companions: Record<string, string>): KeptFiles {
  return kept.method === "full" ? { ...kept, companions } : kept;
}

/** On a full disk, the states of a run that is over make room for its adapter. */
async function keep(unnamed: Omit<KeptAdapter, "name">, isOver: boolean, tell: (note: Note) => void) {
  try {
    const kept = { ...unnamed, name: await answered(nameFor(unnamed.id, unnamed.text)) };
    await answered(writeKept(kept)).catch(async (error) => {
      if (!isOver) throw error;
      await answered(forgetRun());
      await answered(writeKept(kept));
    });
    tell({ type: "kept", kept });
  } catch (error) {
    tell({ type: "unkept", error: plainError(error) });
  }
}

/** Writes one run state after the other; of those that come while one is being written, only the last. */
class Saving {
  written: Promise<void> = Promise.resolve();
  #step = 0;
  #startedAt = performance.now();
  #pausedAt = 0;
  #next: { now: RunRecord; step: number; state: Uint8Array<ArrayBuffer> } | undefined;

  constructor(
    readonly record: RunRecord,
    readonly tell: (note: Note) => void,
  ) {}

  watch(event: Event) {
    if (event.type === "checkpoint") this.#step = event.step;
    if (event.type !== "phase") return;
    // Pauses do not count as running time.
    if (event.phase === "paused") this.#pausedAt = performance.now();
    if (event.phase === "training" && this.#pausedAt) {
      this.#startedAt += performance.now() - this.#pausedAt;
      this.#pausedAt = 0;
    }
  }

  write(state: Uint8Array<ArrayBuffer>) {
    const now = { ...this.record, ms: this.record.ms + performance.now() - this.#startedAt };
    this.#next = { now, step: this.#step, state };
    this.written = this.written.then(() => this.#writeNext());
  }

  async #writeNext() {
    if (!this.#next) return;
    const { now, step, state } = this.#next;
    this.#next = undefined;
    try {
      await answered(writeRun(now, step, state));
      this.tell({ type: "saved", step });
    } catch (error) {
      this.tell({ type: "unsaved", error: plainError(error) });
    }
  }
}
