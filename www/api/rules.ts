/** What the options may be. They are checked before anything starts. */

import { LoraError } from "./errors";
import type {
  AdapterOptions,
  BlobOptions,
  CreateOptions,
  DatasetOptions,
  LoraSettings,
  MeasureOptions,
  MergeOptions,
  ResumeOptions,
  SamplingOptions,
  TrainOptions,
} from "./options";
import { samplesEvery } from "./sample_pace";
import type { Limit, LimitedSetting, Settings } from "./types";

/** Numbers within limits, one of several words, or whatever else `is` says. */
type Rule = Limit | string[] | { is(value: unknown): boolean; expected: string };
type Rules<Options> = { [Name in keyof Required<Options>]: Rule };

const ROWS: Limit = { whole: true, from: 1, to: 1024 };
const COUNT: Limit = { whole: true, from: 0, to: 2 ** 32 - 1 };
const FRACTION: Limit = { whole: false, from: 0, below: 1 };

/** The engine's own, but for what depends on the model. */
export const LIMITS: Record<LimitedSetting, Limit> = {
  seqLen: { whole: true, from: 1 },
  batch: ROWS,
  accumulate: ROWS,
  alpha: { whole: false, from: 1e-30, to: 1e18 },
  lr: { whole: false, above: 0, to: 1 },
  warmup: FRACTION,
  steps: { whole: true, from: 1, to: 1e6 },
  clip: { whole: false, from: 0 },
  weightDecay: FRACTION,
  dropout: FRACTION,
  holdout: FRACTION,
  evalEvery: COUNT,
  patience: COUNT,
  sampleEvery: COUNT,
  maxTokens: COUNT,
  seed: { whole: true, from: 0, to: Number.MAX_SAFE_INTEGER },
};

const flag: Rule = { is: (value) => typeof value === "boolean", expected: "true or false" };
const text: Rule = { is: (value) => typeof value === "string", expected: "a text" };
const object: Rule = { is: isObject, expected: "an object" };
const action: Rule = { is: (value) => typeof value === "function", expected: "a function" };
const address: Rule = { is: (value) => typeof value === "string" || isObject(value), expected: "an address" };
const signal: Rule = {
  is: (value) => isObject(value) && "aborted" in value && "addEventListener" in value,
  expected: "an AbortSignal",
};
const adapter: Rule = {
  is: (value) => isObject(value) && "config" in value && "weights" in value,
  expected: "a LoraAdapter",
};

const checkpoint: Rule = { is: (value) => isObject(value) && "files" in value, expected: "a FullCheckpoint" };

/** These are called otherwise here. */
const { steps, sampleEvery, maxTokens, ...numbers } = LIMITS;

const settings: Rules<LoraSettings> = {
  ...numbers,
  rank: { whole: true, from: 1 },
  maxSteps: steps,
  targets: text,
  schedule: ["linear", "cosine", "constant"],
  lean: flag,
  checkpointing: flag,
  packing: flag,
  autotune: flag,
  shuffle: flag,
  sample: object,
};

const { seqLen, holdout, packing, ...whileTraining } = settings;

const sample: Rules<LoraSettings["sample"]> = { prompt: text, every: sampleEvery, maxTokens };

const asked: Rules<AdapterOptions> = { adapter, checkpoint, strength: { whole: false }, signal };

export const RULES = {
  create: {
    ...settings,
    model: { is: (value) => typeof value === "string" || isObject(value), expected: "a model" },
    revision: text,
    hub: text,
    token: text,
    device: ["auto", "gpu", "cpu"],
    weights: ["auto", "f32", "f16", "int8", "int4"],
    workers: { whole: true, from: 1, to: 8 },
    signal,
    monitor: action,
    wasmUrl: address,
    workerUrl: address,
    downloadUrl: address,
    worker: object,
  } satisfies Rules<CreateOptions>,
  dataset: {
    seqLen,
    holdout,
    packing,
    name: text,
    columns: object,
    signal,
  } satisfies Rules<DatasetOptions>,
  train: { ...whileTraining, method: ["lora", "full"], adapter, signal } satisfies Rules<TrainOptions>,
  resume: { signal } satisfies Rules<ResumeOptions>,
  generate: {
    ...asked,
    maxTokens,
    seed: numbers.seed,
    temperature: { whole: false, from: 0 },
    topK: COUNT,
    topP: { whole: false, above: 0, to: 1 },
  } satisfies Rules<SamplingOptions>,
  toBlob: {
    format: ["peft", "gguf", "mlx"],
    model: { is: (value) => isObject(value) && "exportAdapter" in value, expected: "a LoraModel" },
  } satisfies Rules<BlobOptions>,
  merge: { ...asked, format: ["safetensors", "gguf"], type: ["f32", "f16", "q8_0"] } satisfies Rules<MergeOptions>,
  evaluate: { ...asked, batch: numbers.batch } satisfies Rules<MeasureOptions>,
};

/** The options that were given a value. Throws if one of them is unknown or cannot be used. */
export function checked<Options extends object>(call: keyof typeof RULES, options: Options): Options {
  const given = check(RULES[call], options, "");
  if ("sample" in given) check(sample, given.sample as object, "sample.");
  return given;
}

function check<Options extends object>(rules: Record<string, Rule>, options: Options, within: string): Options {
  if (!isObject(options)) throw refused("options", options, "an object");
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (!rule) throw unknown(within + name, Object.keys(rules));
    const expected = violated(rule, value);
    if (expected) throw refused(within + name, value, expected);
  }
  return Object.fromEntries(given) as Options;
}

/** What these options change of the settings, but for the steps and the samples. */
export function changesOf({ maxSteps: _, sample: __, ...same }: Partial<LoraSettings>): Partial<Settings> {
  return {
    ...(same.rank === undefined ? {} : { alpha: 2 * same.rank }),
    // A fraction that was chosen is used in full.
    ...(same.holdout === undefined ? {} : { holdoutAtMost: null }),
    ...same,
  };
}

/** The settings of a run, where these options differ from the defaults. */
export function settled(defaults: Settings, options: Partial<LoraSettings>): Settings {
  const { maxSteps = defaults.steps, sample = {} } = options;
  const { prompt, maxTokens, every = prompt === undefined ? undefined : samplesEvery(maxSteps) } = sample;
  return {
    ...defaults,
    ...changesOf(options),
    steps: maxSteps,
    ...(prompt === undefined ? {} : { prompt }),
    ...(every === undefined ? {} : { sampleEvery: every }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
  };
}

export function refused(name: string, value: unknown, expected: string): LoraError {
  const written = typeof value === "string" ? `"${value}"` : isObject(value) ? "an object" : String(value);
  const message = `\`${name}\` = ${written}: expected ${expected}`;
  return new LoraError("setting", message, "Change this option and try again.", { name, value: written, expected });
}

function unknown(name: string, known: string[]): LoraError {
  const hint = `The options here are ${[...known].sort().join(", ")}.`;
  return new LoraError("setting", `there is no option \`${name}\``, hint, {
    name,
    value: "",
    expected: "a known option",
  });
}

/** What the rule expects, if the value is something else. */
function violated(rule: Rule, value: unknown): string | undefined {
  if (Array.isArray(rule)) return rule.includes(value as string) ? undefined : `one of ${rule.join(", ")}`;
  if ("is" in rule) return rule.is(value) ? undefined : rule.expected;
  return allows(rule, value) ? undefined : words(rule);
}

function allows({ whole, from, above, to, below }: Limit, value: unknown): boolean {
  if (typeof value !== "number" || !Number.isFinite(value) || (whole && !Number.isInteger(value))) return false;
  return !(
    (from !== undefined && value < from) ||
    (above !== undefined && value <= above) ||
    (to !== undefined && value > to) ||
    (below !== undefined && value >= below)
  );
}

function words({ whole, from, above, to, below }: Limit): string {
  const bounds = [
    from !== undefined && `at least ${from}`,
    above !== undefined && `above ${above}`,
    to !== undefined && `at most ${to}`,
    below !== undefined && `below ${below}`,
  ].filter(Boolean);
  return `a ${whole ? "whole" : "finite"} number${bounds.length > 0 ? `, ${bounds.join(" and ")}` : ""}`;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
