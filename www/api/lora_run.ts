/** A run under way: its events, what it leaves, and what can be asked of it. */

import type { Beginning } from "./beginning";
import { LoraError } from "./errors";
import { FullCheckpoint } from "./full_checkpoint";
import { LoraAdapter } from "./lora_adapter";
import type { Session } from "./session";
import { Stream } from "./stream";
import { aborted, type Turns } from "./turns";
import type { Dataset, Event, KeptFiles } from "./types";

interface Waiting {
  resolve(state: Blob): void;
  reject(error: LoraError): void;
}

export class LoraRun implements AsyncIterable<Event> {
  /**
   * The best adapter on the held-out rows or, if none are held out or none was better than the start, the last one;
   * once the run is over.
   */
  readonly adapter: Promise<LoraAdapter>;
  /** The same of full fine-tuning, which leaves a whole model. */
  readonly checkpoint: Promise<FullCheckpoint>;
  #session: Session;
  #state: "waiting" | "running" | "paused" | "over" = "waiting";
  #isPaused = false;
  /** Set when the run was stopped before it began. */
  #isStopped = false;
  #stream: Stream<Event, KeptFiles>;
  /** From which the run could go on, and who waits for the next one. */
  #saved: Blob | undefined;
  #awaiting: Waiting[] = [];
  /** Why the run cannot go on from any. */
  #refusal: string | null = null;

  constructor(
    session: Session,
    turns: Turns,
    dataset: Dataset,
    begin: () => Promise<Beginning>,
    signal: AbortSignal | undefined,
  ) {
    this.#session = session;
    const train = async (tell: (event: Event) => void): Promise<KeptFiles> => {
      const { settings, ...start } = await begin();
      if (signal?.aborted) throw aborted(signal);
      if (this.#isStopped) throw aborted({ reason: "it was stopped before it began" });
      this.#state = "running";
      let isEmpty = false;
      const watch = (event: Event) => {
        // A run whose first step was not finite leaves what it began with.
        if (event.type === "done") isEmpty = event.step === 0 && event.reason !== "non_finite";
        this.#watch(event);
        tell(event);
      };
      const onState = (state: Uint8Array<ArrayBuffer>) => this.#hold(new Blob([state]));
      const over = session.train(dataset, settings, watch, () => {}, { ...start, states: true, onState });
      if (this.#isPaused) session.pause(true);
      await over;
      if (signal?.aborted) throw aborted(signal);
      if (isEmpty) throw aborted({ reason: "it was stopped before its first step" });
      return session.kept();
    };
    const cancel = () => this.#isUnderWay && session.stop(false);
    const end = () => {
      this.#state = "over";
      this.#answer();
    };
    this.#stream = new Stream(
      (tell) => turns.take(signal, () => train(tell).finally(end), cancel),
      () => this.stop(),
    );
    const { result } = this.#stream;
    result.catch(({ code }) => {
      if (code === "aborted") this.#refusal ??= "it was given up";
      end();
    });
    this.adapter = result.then((kept) => adapterOf(kept, session));
    this.checkpoint = result.then(checkpointOf);
    // Whoever asks for one of them hears of its error there.
    for (const left of [this.adapter, this.checkpoint]) left.catch(() => {});
  }

  /**
   * What `model.resume` goes on from, also after the page or the process has ended: the run as it is after the step
   * under way or, once it was stopped or has failed, the last state that there is.
   */
  state(): Promise<Blob> {
    return new Promise((resolve, reject) => {
      this.#awaiting.push({ resolve, reject });
      if (this.#state === "running") this.#session.save();
      else this.#answer();
    });
  }

  /** After the step under way. */
  pause() {
    this.#isPaused = true;
    if (this.#isUnderWay) this.#session.pause(true);
  }

  resume() {
    this.#isPaused = false;
    if (this.#isUnderWay) this.#session.pause(false);
  }

  /** Ends the run after the step under way; the best of it stays. Leaving the loop over the events does the same. */
  stop() {
    if (this.#state === "waiting") this.#isStopped = true;
    if (this.#isUnderWay) this.#session.stop(true);
  }

  [Symbol.asyncIterator]() {
    return this.#stream[Symbol.asyncIterator]();
  }

  get #isUnderWay(): boolean {
    return this.#state === "running" || this.#state === "paused";
  }

  #watch(event: Event) {
    if (event.type === "step" && this.#awaiting.length > 0) this.#session.save();
    if (event.type === "warning" && event.code === "state_too_large") this.#refusal = event.message;
    if (event.type === "done" && event.reason !== "stopped") this.#refusal = `it is over (${event.reason})`;
    if (event.type === "phase") this.#state = event.phase === "paused" ? "paused" : "running";
    this.#answer();
  }

  #hold(state: Blob) {
    this.#saved = state;
    for (const { resolve } of this.#awaiting.splice(0)) resolve(state);
  }

  /** A run that is paused or over has saved its last state; one that goes on is asked for the next. */
  #answer() {
    const isOver = this.#state === "over";
    const refusal = this.#refusal ?? (isOver && !this.#saved ? "it ended before it was saved" : null);
    if (refusal !== null) for (const { reject } of this.#awaiting.splice(0)) reject(unsaved(refusal));
    const saved = this.#saved;
    if (saved && (isOver || this.#state === "paused"))
      for (const { resolve } of this.#awaiting.splice(0)) resolve(saved);
  }
}

function adapterOf(kept: KeptFiles, session: Session): LoraAdapter {
  if (kept.method === "lora") return new LoraAdapter(kept, (files, format) => session.exportAdapter(files, format));
  throw new LoraError(
    "adapter",
    "full fine-tuning left a whole model, not an adapter",
    "Read `run.checkpoint`, or train with the method lora.",
  );
}

function checkpointOf(kept: KeptFiles): FullCheckpoint {
  if (kept.method === "full") return new FullCheckpoint(kept);
  throw new LoraError(
    "checkpoint",
    "the run left an adapter, not a whole model",
    "Read `run.adapter`, or train with the method full.",
  );
}

function unsaved(reason: string): LoraError {
  return new LoraError("run_state", `there is no state of this run to go on from: ${reason}`, "Start it again.");
}
