/** The one table of settings: what a visitor may change, in which words, and its mirror in the page's address. */

import { computed, effect, signal } from "@preact/signals";
import type { Settings } from "../api/types";
import { model, text } from "./state";

export interface Knob {
  key: keyof Settings;
  label: string;
  unit?: string;
  /** Absent: a number. */
  choices?: { value: string; label: string }[];
  step?: number | "any";
  what: string;
  when: string;
}

export const knobs: Knob[] = [
  {
    key: "steps",
    label: "Steps",
    step: 1,
    what: "How many times the model reads a batch of your rows and adjusts the adapter.",
    when: "More for a long text. You can stop early and keep the best so far.",
  },
  {
    key: "lr",
    label: "Learning rate",
    step: "any",
    what: "How large each adjustment is.",
    when: "Lower it if the loss jumps about or climbs; raise it if hardly anything changes.",
  },
  {
    key: "batch",
    label: "Batch",
    unit: "rows per step",
    step: 1,
    what: "How many rows the model reads before each adjustment.",
    when: "Fewer for a slow graphics card or little memory.",
  },
  {
    key: "seqLen",
    label: "Length of a row",
    unit: "tokens",
    step: 1,
    what: "How much text the model sees in one go. A token is a piece of a word.",
    when: "Longer for texts whose thoughts run over pages; shorter for a short text.",
  },
  {
    key: "rank",
    label: "Rank",
    step: 1,
    what: "How many directions of change each layer may learn. The adapter grows with it.",
    when: "8 suits most texts; try 16 or 32 for a long or varied one.",
  },
  {
    key: "alpha",
    label: "Alpha",
    step: "any",
    what: "How strongly the adapter acts: what it adds is multiplied by alpha ÷ rank.",
    when: "Leave it at twice the rank unless you follow a recipe.",
  },
  {
    key: "targets",
    label: "Layers that learn",
    choices: [
      { value: "all-linear", label: "all of them" },
      { value: "attention", label: "attention only" },
    ],
    what: "Which matrices of the model get an adapter.",
    when: "Attention only makes a smaller adapter that learns a little less.",
  },
];

/** These may be in the address too; the sample prompt may not, because it can be a visitor's own words. */
const alsoInAddress: (keyof Settings)[] = [
  "accumulate",
  "schedule",
  "warmup",
  "clip",
  "weightDecay",
  "dropout",
  "holdout",
  "evalEvery",
  "patience",
  "sampleEvery",
  "seed",
  "shuffle",
  "maxTokens",
];

/** What a story model continues best. */
const PROMPT = "Once upon a time";
/** What a model that learns conversations is asked. */
export const MESSAGE = "Hello! Who are you?";
/** How many samples a run takes. */
const SAMPLES = 6;

export const changes = signal<Partial<Settings>>(readAddress());

export type Theme = "auto" | "light" | "dark";
const asked = new URLSearchParams(location.hash.slice(1)).get("theme");
export const theme = signal<Theme>(asked === "light" || asked === "dark" ? asked : "auto");

/** The engine's defaults with the visitor's changes, and what follows from them. Null until the model is ready. */
export const settings = computed<Settings | null>(() => {
  if (model.value.state !== "ready") return null;
  const { defaults } = model.value;
  const changed = changes.value;
  const steps = changed.steps ?? text.value?.dataset?.defaultSteps ?? defaults.steps;
  const follows: Partial<Settings> = {
    steps,
    alpha: 2 * (changed.rank ?? defaults.rank),
    sampleEvery: Math.max(1, Math.round(steps / SAMPLES) || 1),
    prompt: text.value?.prompt ?? (text.value?.dataset?.isChat ? MESSAGE : PROMPT),
  };
  return { ...defaults, ...follows, ...changed };
});

export function change(key: keyof Settings, value: number | string) {
  changes.value = { ...changes.value, [key]: value };
}

export function reset(key: keyof Settings) {
  const { [key]: _, ...rest } = changes.value;
  changes.value = rest;
}

/** Sets everything as a run had it. What is the default anyway stays out of the address. */
export function adopt(wanted: Settings) {
  changes.value = {};
  const usual = settings.value;
  const differs = ([key, value]: [string, unknown]) => key !== "prompt" && usual?.[key as keyof Settings] !== value;
  changes.value = Object.fromEntries(Object.entries(wanted).filter(differs));
}

export function mirrorInAddress() {
  effect(() => {
    const pairs = Object.entries({ ...changes.value, theme: theme.value }).filter(([, value]) => value !== "auto");
    const mirror = new URLSearchParams(pairs.map(([key, value]) => [key, String(value)])).toString();
    if (mirror !== location.hash.slice(1)) history.replaceState(null, "", mirror ? `#${mirror}` : location.pathname);
  });
}

/** Numbers are not checked here, not even NaN: only the engine checks them, and says what it expected. */
function readAddress(): Partial<Settings> {
  const known = new Set<string>([...knobs.map((knob) => knob.key), ...alsoInAddress]);
  const pairs = [...new URLSearchParams(location.hash.slice(1))].filter(([key]) => known.has(key));
  return Object.fromEntries(pairs.map(([key, value]) => [key, parse(key, value)]));
}

function parse(key: string, value: string): number | string | boolean {
  if (key === "targets" || key === "schedule") return value;
  return key === "shuffle" ? value === "true" : Number(value);
}
