/** Everything the page knows while it is open, except the settings. Views read it, the modules beside it write it. */

import { computed, signal } from "@preact/signals";
import type { Advice } from "../api/availability";
import type { AdapterFiles, Dataset, KeptFiles, Loaded, Notice, TextDocument } from "../api/types";
import type { Run } from "./progress";

export type Card = "text" | "model" | "train" | "keep";
export type CardState = "waiting" | "open" | "done";

/** A text that was chosen, as it came. */
export interface Source {
  name: string;
  /** A prompt in the manner of the text; only the samples bring one. */
  prompt?: string;
  documents: TextDocument[];
  /** What there is to say about how it came together. */
  notes?: Notice[];
}

export interface Text extends Source {
  bytes: number;
  /** The text as rows; null while it is being read, and always without an engine. */
  dataset: Dataset | null;
  /** Shown instead of tokens if there is no engine to cut the text into them. */
  plain?: { characters: number; lines: string[] };
}

export type Model =
  | { state: "loading" }
  | ({ state: "ready"; builtIn: boolean } & Loaded)
  | ({ state: "absent"; noCard: boolean } & Advice)
  | { state: "failed" };

export const text = signal<Text | null>(null);
/** The visitor has looked at the text and said yes. */
export const accepted = signal(false);
export const model = signal<Model>({ state: "loading" });
/** The model in use is one of the Hub: only their names have a slash. */
export const isFromHub = computed(() => model.value.state === "ready" && model.value.info.name.includes("/"));
/** What would get this browser a graphics card, where the processor has to do without. */
export const faster = signal<Advice | null>(null);
export const run = signal<Run | null>(null);
/** What the last run left: an adapter or, after full fine-tuning, a model. */
export const adapter = signal<KeptFiles | null>(null);
/** The file that it was opened from; null if it was trained here. */
export const openedFrom = signal<string | null>(null);
export const downloaded = signal(false);
/** The adapter that the next run starts from; null: it starts with a new one. */
export const startFrom = signal<AdapterFiles | null>(null);
/** The card that was done and was opened again with "Change". */
export const changing = signal<Card | null>(null);

export const training = computed(() => run.value?.state === "starting" || run.value?.state === "training");

export const cards = computed<Record<Card, CardState>>(() => {
  const ready = model.value.state === "ready";
  const reason = run.value?.outcome?.reason;
  const trained = reason !== undefined && reason !== "cancelled" && adapter.value !== null;
  return {
    text: done("text", accepted.value),
    model: ready ? done("model", true) : model.value.state === "failed" ? "open" : "waiting",
    train: accepted.value && ready ? done("train", trained) : "waiting",
    keep: adapter.value && !training.value ? "open" : "waiting",
  };
});

function done(card: Card, settled: boolean): CardState {
  return settled && changing.value !== card ? "done" : "open";
}

/** What a screen reader says about progress, at most once in ten seconds. */
export const spoken = signal("");
let lastSpoken = Number.NEGATIVE_INFINITY;

export function announce(sentence: string) {
  if (performance.now() - lastSpoken < 10_000) return;
  lastSpoken = performance.now();
  spoken.value = sentence;
}
