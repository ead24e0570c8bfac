/** What visitors have changed of the settings, and its mirror in the page's address. */

import { batch, computed, effect, signal } from "@preact/signals";
import { samplesEvery } from "../api/sample_pace";
import type { DeviceChoice, Settings, WeightsChoice } from "../api/types";
import { isPageChoice, type Knob, nameOf, type PageChoice } from "./knobs";
import { isChoice, limitOf, read, refusal } from "./limits";
import { model, startFrom, text } from "./state";

/** What a story model continues best. */
const PROMPT = "Once upon a time";
/** What a model that learns conversations is asked. */
export const MESSAGE = "Hello! Who are you?";

/** Settings as they are written, by key. */
type Written = Record<string, string>;

/** What the address asks for, and what was typed since then and can be used. */
const changes = signal<Written>(withoutChoices(readAddress()));
/** What stands in a box although it could not be used when it was typed. */
const typed = signal<Written>({});

export type Theme = "auto" | "light" | "dark";
export const theme = signal<Theme>(chosen("theme"));
/** What shall compute. */
export const device = signal<DeviceChoice>(chosen("device"));
/** How the model's matrices shall be stored. */
export const weights = signal<WeightsChoice>(chosen("weights"));
/** How many workers shall share the work on the processor: "auto" or a number. */
export const workers = chosen("workers");
/** The address of another Hub, or "auto". */
export const hub = chosen("hub");

/** What can be used of all that was written, and why the rest cannot. Null until the model is ready. */
const verdict = computed(() => {
  if (model.value.state !== "ready") return null;
  const { limits, defaults } = model.value;
  const { targets = defaults.targets } = changes.value;
  const known = refusal("targets", targets, limits, "") === null ? targets : defaults.targets;
  const sort = (written: Written) => {
    const all = Object.entries(written).map(
      ([key, words]) => [key, words, refusal(key, words, limits, known)] as const,
    );
    return {
      good: Object.fromEntries(all.flatMap(([key, words, reason]) => (reason === null ? [[key, words]] : []))),
      bad: all.flatMap(([key, words, reason]) => (reason === null ? [] : [{ key, written: words, reason }])),
    };
  };
  const boxes = sort(typed.value);
  const { good, bad } = sort({ ...changes.value, ...boxes.good });
  const refusals = Object.fromEntries(boxes.bad.map(({ key, reason }) => [key, reason]));
  const limitOfBox = (key: Knob["key"]) => limitOf(key, limits, known);
  return { good, refusals, setBack: bad.filter(({ key }) => !(key in refusals)), limitOfBox };
});

/** The engine's defaults with the visitor's changes, and what follows from them. Null until the model is ready. */
export const settings = computed<Settings | null>(() => {
  if (model.value.state !== "ready" || !verdict.value) return null;
  const { defaults: usual, fullDefaults } = model.value;
  const pairs = Object.entries(verdict.value.good).map(([key, written]) => [key, read(key, written)]);
  const changed: Partial<Settings> = Object.fromEntries(pairs);
  // What an adapter begins, an adapter continues.
  const defaults = changed.method === "full" && !startFrom.value ? fullDefaults : usual;
  const steps = changed.steps ?? text.value?.dataset?.defaultSteps ?? defaults.steps;
  const follows: Partial<Settings> = {
    steps,
    alpha: 2 * (changed.rank ?? defaults.rank),
    sampleEvery: samplesEvery(steps),
    prompt: text.value?.prompt ?? (text.value?.dataset?.isChat ? MESSAGE : PROMPT),
  };
  return { ...defaults, ...follows, ...changed, method: defaults.method };
});

/** Why what stands in a box cannot be used, by key. No run starts meanwhile. */
export const refusals = computed<Written>(() => verdict.value?.refusals ?? {});

/** What the address asks for in vain, and why. It is set back to the default. */
export const setBack = computed(() => verdict.value?.setBack ?? []);

/** What stands in the box of a setting, the numbers that it takes, and whether there is anything to reset. */
export function boxOf(key: Knob["key"]) {
  const written = typed.value[key] ?? String(settings.value?.[key] ?? "");
  const changed = key in typed.value || key in changes.value;
  return { written, changed, limit: verdict.value?.limitOfBox(key), refused: refusals.value[key] };
}

export function change(key: Knob["key"], written: string) {
  batch(() => {
    typed.value = { ...typed.value, [key]: written };
    if (key in refusals.value) return;
    typed.value = without(typed.value, key);
    changes.value = { ...changes.value, [key]: String(read(key, written)) };
  });
}

export function reset(...keys: string[]) {
  typed.value = without(typed.value, ...keys);
  changes.value = without(changes.value, ...keys);
}

/** Sets everything as a run had it. What is the default anyway stays out of the address. */
export function adopt(wanted: Settings) {
  changes.value = {};
  typed.value = {};
  const usual = settings.value;
  const differs = ([key, value]: [string, unknown]) => nameOf(key) && usual?.[key as keyof Settings] !== value;
  const pairs = Object.entries(wanted).filter(differs);
  changes.value = Object.fromEntries(pairs.map(([key, value]) => [key, String(value)]));
}

/** Until the model is ready, nobody knows what can be used. */
export function mirrorInAddress() {
  effect(() => {
    const mirrored = {
      ...(verdict.value?.good ?? changes.value),
      ...(theme.value === "auto" ? {} : { theme: theme.value }),
      ...(device.value === "auto" ? {} : { device: device.value }),
      ...(weights.value === "auto" ? {} : { weights: weights.value }),
      ...(workers === "auto" ? {} : { workers }),
      ...(hub === "auto" ? {} : { hub }),
    };
    const mirror = new URLSearchParams(mirrored).toString();
    if (mirror !== location.hash.slice(1)) history.replaceState(null, "", location.pathname + (mirror && `#${mirror}`));
  });
}

/** What is there twice is no number and no choice, so it is refused. `?device=cpu` is a choice, too. */
function readAddress(): Written {
  const all = new URLSearchParams(location.hash.slice(1));
  for (const [key, written] of new URLSearchParams(location.search)) if (isPageChoice(key)) all.append(key, written);
  return Object.fromEntries([...all.keys()].map((key) => [key, all.getAll(key).join(" and ")]));
}

/** What the address says about one of the choices that are the page's, not the run's. */
function chosen<T extends string>(key: PageChoice): T | "auto" {
  const { [key]: written = "" } = readAddress();
  return isChoice(key, written) ? (written as T) : "auto";
}

function withoutChoices(written: Written): Written {
  const isOther = ([key, words]: [string, string]) => !isPageChoice(key) || !isChoice(key, words);
  return Object.fromEntries(Object.entries(written).filter(isOther));
}

function without(written: Written, ...keys: string[]): Written {
  return Object.fromEntries(Object.entries(written).filter(([key]) => !keys.includes(key)));
}
