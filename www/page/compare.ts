/** The base beside the tuned model: same prompt, same seed, so that every difference is the adapter's. */

import { effect, signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import { isLost, session } from "./engine";
import { settings } from "./settings";
import { adapter, training } from "./state";
import { complain, forgive } from "./trouble";

export interface Column {
  text: string;
  writing: boolean;
}

/** Null: the prompt of the samples. */
export const prompt = signal<string | null>(null);
export const seed = signal(1);
export const strength = signal(1);
export const before = signal<Column>({ text: "", writing: false });
export const after = signal<Column>({ text: "", writing: false });

const SAMPLING = { temperature: 0.7, topK: 40, topP: 1 };

let turn = 0;

/** Writes both columns, or only the tuned one if what the base writes cannot have changed. */
export async function compare(which: "both" | "tuned" = "both") {
  const mine = ++turn;
  const engine = await session();
  if (!engine || !settings.value) return;
  if (before.value.writing || after.value.writing) engine.stop(true);
  forgive("keep");
  try {
    if (which === "both" || before.value.writing) await write(before, 0, mine);
    await write(after, strength.value, mine);
  } catch (error) {
    if (!isLost(error as LoraError)) complain("keep", error);
  }
}

export function newSeed() {
  seed.value += 1;
  return compare();
}

/** Compares whenever there is a new adapter. */
export function keepComparing() {
  effect(() => {
    if (adapter.value && !training.value) queueMicrotask(() => compare());
  });
}

async function write(column: typeof before, adapterStrength: number, mine: number) {
  const engine = await session();
  const wanted = settings.value;
  if (mine !== turn || !engine || !wanted) return;
  column.value = { text: "", writing: true };
  const options = {
    prompt: prompt.value ?? wanted.prompt,
    adapter: column === after,
    strength: adapterStrength,
    seed: seed.value,
    maxTokens: 2 * wanted.maxTokens,
    ...SAMPLING,
  };
  let text = "";
  try {
    await engine.generate(options, (piece) => {
      text += piece;
      if (mine === turn) column.value = { text, writing: true };
    });
  } finally {
    if (mine === turn) column.value = { text, writing: false };
  }
}
