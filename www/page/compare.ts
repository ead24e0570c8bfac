/** The base beside the tuned model: same prompt, same seed, so that every difference is the adapter's. */

import { computed, effect, signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import { isLost, session } from "./engine";
import { MESSAGE, settings } from "./settings";
import { adapter, model, text, training } from "./state";
import { complain, forgive } from "./trouble";

export interface Column {
  /** Null before anything was asked. */
  asked: Asked | null;
  text: string;
  state: "empty" | "writing" | "written" | "failed";
}

interface Asked {
  prompt: string;
  asMessage: boolean;
}

/** What the visitor typed; null: nothing yet. */
export const typed = signal<string | null>(null);
/** The adapter learnt conversations. */
export const learntChat = computed(() => adapter.value?.isChat ?? false);
/** The model has a chat template, so it can be asked with messages. */
export const mayChat = computed(() => model.value.state === "ready" && model.value.info.chatTemplate);
/** What is asked now: what the visitor typed, or the prompt of the samples. */
export const prompt = computed(() => {
  const usual = mayChat.value && learntChat.value ? MESSAGE : settings.value?.prompt;
  return typed.value ?? usual ?? "";
});

/** Whether the visitor wants the prompt as a message, and for which adapter and text. */
const wish = signal({ asMessage: false, adapter: adapter.peek(), documents: text.peek()?.documents });
export const asMessage = computed(() => {
  const holds = wish.value.adapter === adapter.value && wish.value.documents === text.value?.documents;
  return mayChat.value && (holds && wish.value.adapter ? wish.value.asMessage : learntChat.value);
});

export const seed = signal(1);
export const strength = signal(1);
const EMPTY: Column = { asked: null, text: "", state: "empty" };
export const before = signal(EMPTY);
export const after = signal(EMPTY);

const SAMPLING = { temperature: 0.7, topK: 40, topP: 1 };

let turn = 0;

/** Writes both columns, or only the tuned one if what the base writes cannot have changed. */
export async function compare(which: "both" | "tuned" = "both") {
  const mine = ++turn;
  const engine = await session();
  const wanted = settings.value;
  if (mine !== turn || !engine || !wanted) return;
  const asked = { prompt: prompt.value, asMessage: asMessage.value };
  const columns = which === "tuned" && answers(before.value, asked) ? [after] : [before, after];
  if (before.value.state === "writing" || after.value.state === "writing") engine.stop(true);
  forgive("keep");
  // Both at once: what stands side by side is always about the same prompt.
  for (const column of columns) column.value = { asked, text: "", state: "writing" };
  try {
    for (const column of columns) {
      const tuned = column === after;
      const options = {
        ...SAMPLING,
        prompt: asked.asMessage ? [{ role: "user", content: asked.prompt }] : asked.prompt,
        adapter: tuned,
        strength: tuned ? strength.value : 0,
        seed: seed.value,
        maxTokens: 2 * wanted.maxTokens,
      };
      await engine.generate(options, (piece) => {
        if (mine === turn) column.value = { ...column.value, text: column.value.text + piece };
      });
      if (mine !== turn) return;
      column.value = { ...column.value, state: "written" };
    }
  } catch (error) {
    if (mine !== turn) return;
    for (const column of columns)
      if (column.value.state === "writing") column.value = { ...column.value, state: "failed" };
    if (!isLost(error as LoraError)) complain("keep", error);
  }
}

export function askAsMessage(wanted: boolean) {
  wish.value = { asMessage: wanted, adapter: adapter.value, documents: text.value?.documents };
  return compare();
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

function answers({ asked, state }: Column, { prompt, asMessage }: Asked): boolean {
  return state === "written" && asked?.prompt === prompt && asked.asMessage === asMessage;
}
