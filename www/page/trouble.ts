/** What went wrong, and where. A place shows one banner at a time, which touches nothing that a visitor typed. */

import { signal } from "@preact/signals";
import { type LoraError, loraError } from "../api/errors";
import type { Knob } from "./knobs";
import { adapter, type Card, changing, model, run, text } from "./state";

export interface Trouble {
  code: string;
  /** What happened. */
  what: string;
  /** What to do. */
  hint: string;
  button: { label: string; press(): void };
}

/** A card, the samples in it, what the browser keeps, or the page as a whole. */
export type Place = Card | "samples" | "kept" | "page";

export const troubles = signal<Partial<Record<Place, Trouble>>>({});

export function complain(place: Place, error: unknown, button?: Trouble["button"]) {
  const { code, message, hint }: LoraError = loraError(error);
  const trouble = { code, what: message, hint, button: button ?? { label: "Close", press: () => forgive(place) } };
  troubles.value = { ...troubles.value, [place]: trouble };
}

/** The setting whose box is to get the focus. */
export const goal = signal<Knob["key"] | null>(null);

/** A button for errors that another value of this setting avoids. */
export function toSetting(key: Knob["key"]): Trouble["button"] {
  return {
    label: "Change the settings",
    press: () => {
      changing.value = "model";
      goal.value = key;
    },
  };
}

export function forgive(place: Place) {
  const { [place]: _, ...rest } = troubles.value;
  troubles.value = rest;
}

/** What helps to find a fault: sizes and settings. No word of the visitor's: no text, no prompt, no file name. */
export function diagnostics(trouble: Trouble, settings: object | null): string {
  const info = model.value.state === "ready" ? model.value.info : null;
  const { dataset, bytes } = text.value ?? {};
  const { prompt: _, ...shareable } = (settings ?? {}) as { prompt?: string };
  const facts = {
    code: trouble.code,
    browser: navigator.userAgent,
    device: info?.device,
    model: info && { type: info.modelType, parameters: info.parameters, sha256: info.sha256 },
    settings: shareable,
    text: text.value && { bytes, tokens: dataset?.tokens, rows: dataset?.rows },
    run: run.value && { state: run.value.state, step: run.value.step, outcome: run.value.outcome },
    adapter: adapter.value && { step: adapter.value.step, loss: adapter.value.loss },
  };
  return JSON.stringify(facts, null, 2);
}
