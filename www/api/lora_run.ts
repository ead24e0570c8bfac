/** A run under way: its events, its adapter, and what can be asked of it. */

import { LoraAdapter } from "./lora_adapter";
import { refused } from "./rules";
import type { Session } from "./session";
import { Stream } from "./stream";
import { aborted, type Turns } from "./turns";
import type { AdapterInput, Dataset, Event, Settings } from "./types";

type Shape = Pick<Settings, "rank" | "alpha" | "targets">;

/** The adapter to start from, and what the caller asked of its shape. */
interface Start {
  adapter: AdapterInput;
  chosen: Partial<Shape>;
}

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
    from: Start | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#session = session;
    const train = async (tell: (event: Event) => void): Promise<LoraAdapter> => {
      const { start, wanted } = await startFrom(session, settings, from);
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
async function startFrom(session: Session, settings: Settings, from: Start | undefined) {
  if (!from) return { start: {}, wanted: settings };
  const { adapter, chosen } = from;
  await session.setAdapter(adapter.config, adapter.weights);
  const { config, weights, rank, alpha, targets } = await session.adapter();
  const shape: Shape = { rank, alpha, targets: targets.join(",") };
  for (const [name, value] of Object.entries(chosen)) {
    const own = shape[name as keyof Shape];
    if (value !== own) throw refused(name, value, `no value, or ${own} as in the adapter that the run starts from`);
  }
  return { start: { init: { config, weights } }, wanted: { ...settings, ...shape } };
}
