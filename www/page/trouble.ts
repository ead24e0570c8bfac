/** What went wrong, per card. A card shows one banner at a time; nothing a visitor typed is touched by it. */

import { signal } from "@preact/signals";
import { type LoraError, loraError } from "../api/errors";
import { adapter, type Card, changing, model, run, text } from "./state";

export interface Trouble {
  code: string;
  /** What happened. */
  what: string;
  /** What to do. */
  hint: string;
  button: { label: string; press(): void };
}

export const troubles = signal<Partial<Record<Card, Trouble>>>({});

export function complain(card: Card, error: unknown, button?: Trouble["button"]) {
  const { code, message, hint }: LoraError = loraError(error);
  const trouble = { code, what: message, hint, button: button ?? { label: "Close", press: () => forgive(card) } };
  troubles.value = { ...troubles.value, [card]: trouble };
}

/** A button for what a setting can mend. */
export const toSettings = {
  label: "Change the settings",
  press: () => {
    changing.value = "model";
  },
};

export function forgive(card: Card) {
  const { [card]: _, ...rest } = troubles.value;
  troubles.value = rest;
}

/** What helps to find a fault. It holds sizes and settings, and no word of the visitor's: no text, no prompt, no file name. */
export function diagnostics(trouble: Trouble, settings: object | null): string {
  const info = model.value.state === "ready" ? model.value.info : null;
  const { summary, bytes } = text.value ?? {};
  const { prompt: _, ...shareable } = (settings ?? {}) as { prompt?: string };
  const facts = {
    code: trouble.code,
    browser: navigator.userAgent,
    gpu: info?.gpu,
    model: info && { type: info.modelType, parameters: info.parameters, sha256: info.sha256 },
    settings: shareable,
    text: text.value && { bytes, tokens: summary?.tokens, rows: summary?.rows },
    run: run.value && { state: run.value.state, step: run.value.step, outcome: run.value.outcome },
    adapter: adapter.value && { step: adapter.value.step, loss: adapter.value.loss },
  };
  return JSON.stringify(facts, null, 2);
}
