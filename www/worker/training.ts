/** A run in the worker: its events go to the page, its checkpoints to the browser's storage. */

import { plainError } from "../api/errors";
import type { Event } from "../api/events";
import type { Engine } from "./engine";
import type { Note, Training } from "./protocol";
import { forgetRun, type RunRecord, writeRun } from "./vault";

export async function train(engine: Engine, { settings, init, resume, record }: Training, tell: (note: Note) => void) {
  const saving = record && new Saving(record, tell);
  let last: Event | undefined;
  await engine.train(
    settings,
    (event) => {
      last = event;
      saving?.hear(event);
      tell({ type: "event", event });
    },
    (adapter) => tell({ type: "adapter", adapter }),
    {
      ...(init ? { init } : {}),
      ...(resume ? { resume } : {}),
      ...(saving ? { onCheckpoint: (bytes) => saving.write(bytes) } : {}),
    },
  );
  await saving?.written;
  // A run that was stopped can go on; one that is over leaves nothing behind.
  if (record && last?.type === "done" && last.reason !== "stopped") await forgetRun();
}

/** Writes one checkpoint after the other. */
class Saving {
  written: Promise<void> = Promise.resolve();
  #step = 0;
  #startedAt = performance.now();

  constructor(
    readonly record: RunRecord,
    readonly tell: (note: Note) => void,
  ) {}

  hear(event: Event) {
    if (event.type === "checkpoint") this.#step = event.step;
  }

  write(checkpoint: Uint8Array<ArrayBuffer>) {
    const step = this.#step;
    const now = { ...this.record, ms: this.record.ms + performance.now() - this.#startedAt };
    this.written = this.written
      .then(() => writeRun(now, step, checkpoint))
      .then(() => this.tell({ type: "saved", step }))
      .catch((error) => this.tell({ type: "unsaved", error: plainError(error) }));
  }
}
