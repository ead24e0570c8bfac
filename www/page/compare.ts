/** The base beside the tuned model: same prompt, same seed, so that every difference is the adapter's. */

import { computed, effect, signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import { isLost, session } from "./engine";
import { MESSAGE, settings } from "./settings";
import { adapter, model, text, training } from "./state";
import { complain, forgive } from "./trouble";

export interface Column {
  /** Null before anything was asked. */
  asked: { prompt: string; asMessage: boolean } | null;
  text: string;
  writing: boolean;
  /** The model had nothing to say: it ended before the first word. */
  mute?: boolean;
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
const EMPTY: Column = { asked: null, text: "", writing: false };
export const before = signal(EMPTY);
export const after = signal(EMPTY);

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
    if (which === "both" || before.value.writing || !isAskedNow(before.value)) await write(before, 0, mine);
    await write(after, strength.value, mine);
  } catch (error) {
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

/** What stands side by side answers the same, also if the prompt has changed since. */
function isAskedNow({ asked }: Column): boolean {
  return asked?.prompt === prompt.value && asked.asMessage === asMessage.value;
}

async function write(column: typeof before, adapterStrength: number, mine: number) {
  const engine = await session();
  const wanted = settings.value;
  if (mine !== turn || !engine || !wanted) return;
  const asked = { prompt: prompt.value, asMessage: asMessage.value };
  column.value = { asked, text: "", writing: true };
  const options = {
    prompt: asked.asMessage ? [{ role: "user", content: asked.prompt }] : asked.prompt,
    adapter: column === after,
    strength: adapterStrength,
    seed: seed.value,
    maxTokens: 2 * wanted.maxTokens,
    ...SAMPLING,
  };
  let text = "";
  let ended = false;
  try {
    await engine.generate(options, (piece) => {
      text += piece;
      if (mine === turn) column.value = { asked, text, writing: true };
    });
    ended = true;
  } finally {
    if (mine === turn) column.value = { asked, text, writing: false, mute: ended && text === "" };
  }
}
