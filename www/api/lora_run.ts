/** A run under way: its events, its adapter, and what can be asked of it. */

import { LoraAdapter } from "./lora_adapter";
import type { Session } from "./session";
import { Stream } from "./stream";
import { aborted, type Turns } from "./turns";
import type { AdapterInput, Dataset, Event, Settings } from "./types";

export class LoraRun implements AsyncIterable<Event> {
  #session: Session;
  #state: "waiting" | "running" | "over" = "waiting";
  #isPaused = false;
  /** Set when the run was stopped before it began. */
  #isStopped = false;
  #stream: Stream<Event, LoraAdapter>;

  constructor(
    session: Session,
    turns: Turns,
    dataset: Dataset,
    settings: Settings,
    init: AdapterInput | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#session = session;
    const train = async (tell: (event: Event) => void): Promise<LoraAdapter> => {
      const { start, wanted } = await startFrom(session, settings, init);
      if (signal?.aborted) throw aborted(signal);
      if (this.#isStopped) throw aborted({ reason: "it was stopped before it began" });
      this.#state = "running";
      let steps = 0;
      const watch = (event: Event) => {
        if (event.type === "done") steps = event.step;
        tell(event);
      };
      const over = session.train(dataset, wanted, watch, () => {}, start);
      if (this.#isPaused) session.pause(true);
      await over.finally(() => {
        this.#state = "over";
      });
      if (signal?.aborted) throw aborted(signal);
      if (steps === 0) throw aborted({ reason: "it was stopped before its first step" });
      return new LoraAdapter(await session.adapter(), (adapter, format) => session.exportAdapter(adapter, format));
    };
    const cancel = () => this.#state === "running" && session.stop(false);
    this.#stream = new Stream(
      (tell) => turns.take(signal, () => train(tell), cancel),
      () => this.stop(),
    );
  }

  /** The best adapter on the held-out rows or, if none are held out, the last one; once the run is over. */
  get adapter(): Promise<LoraAdapter> {
    return this.#stream.result;
  }

  /** After the step under way. */
  pause() {
    this.#isPaused = true;
    if (this.#state === "running") this.#session.pause(true);
  }

  resume() {
    this.#isPaused = false;
    if (this.#state === "running") this.#session.pause(false);
  }

  /** Ends the run after the step under way; its best adapter stays. Leaving the loop over the events does the same. */
  stop() {
    if (this.#state === "waiting") this.#isStopped = true;
    if (this.#state === "running") this.#session.stop(true);
  }

  [Symbol.asyncIterator]() {
    return this.#stream[Symbol.asyncIterator]();
  }
}

/** A run that starts from an adapter takes over that adapter's shape. */
async function startFrom(session: Session, settings: Settings, init: AdapterInput | undefined) {
  if (!init) return { start: {}, wanted: settings };
  await session.setAdapter(init.config, init.weights);
  const { config, weights, rank, alpha, targets } = await session.adapter();
  return { start: { init: { config, weights } }, wanted: { ...settings, rank, alpha, targets: targets.join(",") } };
}
