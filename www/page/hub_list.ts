/** The list of models that most machines have room for, and what the Hub says about them once it is asked. */

import { computed, signal } from "@preact/signals";
import { LoraError, loraError } from "../api/errors";
import { lookUp } from "../api/hub";
import type { HubModel } from "../api/hub_protocol";
import type { Foreseen } from "../api/types";
import { foresee, hostName, options, stored } from "./hub_models";
import { announce } from "./state";
import { complain, forgive } from "./trouble";

/** From 124 M to 0.6 B parameters, which most graphics cards have room for. */
export const LIST = [
  "HuggingFaceTB/SmolLM2-135M",
  "HuggingFaceTB/SmolLM2-135M-Instruct",
  "HuggingFaceTB/SmolLM2-360M",
  "HuggingFaceTB/SmolLM2-360M-Instruct",
  "Qwen/Qwen2.5-0.5B",
  "Qwen/Qwen2.5-0.5B-Instruct",
  "Qwen/Qwen3-0.6B",
  "unsloth/gemma-3-270m",
  "unsloth/gemma-3-270m-it",
  "openai-community/gpt2",
];

/** What is known of one: by the Hub or, of a model that is stored, by the browser's storage. */
export interface Listed {
  model: HubModel;
  foreseen: Foreseen | null;
  /** Why it cannot be loaded here. */
  unfit: string | null;
}

const told = signal<Record<string, Listed | { gone: string }>>({});
/** The model that the Hub is being asked about. */
export const asking = signal<string | null>(null);
let leaving = new AbortController();

export const listed = computed(() =>
  LIST.map((id) => {
    const there = stored.value.find((model) => model.id === id);
    const known = told.value[id] ?? (there && { model: there, foreseen: null, unfit: null });
    return { id, known };
  }),
);

/** That nothing is left to ask. */
export const isTold = computed(() => LIST.every((id) => told.value[id]));

/** Asks about one after the other; what the Hub said before stays. It ends at `leaveList`, or with the connection. */
export async function askAboutAll() {
  if (asking.value) return;
  forgive("model");
  leaving = new AbortController();
  const { signal } = leaving;
  try {
    if (navigator.onLine === false) throw offline();
    for (const id of LIST.filter((id) => !told.value[id])) {
      asking.value = id;
      const about = await ask(id, signal);
      if (signal.aborted) break;
      told.value = { ...told.value, [id]: about };
    }
    if (!signal.aborted) announce(`${hostName} has told what it knows of these models`);
  } catch (error) {
    if (!signal.aborted) complain("model", error);
  } finally {
    if (leaving.signal === signal) asking.value = null;
  }
}

export function leaveList() {
  leaving.abort();
  asking.value = null;
}

/** Whatever is true of all models is an error. */
async function ask(id: string, signal: AbortSignal): Promise<Listed | { gone: string }> {
  try {
    const found = await lookUp(id, { ...options(), signal });
    const { model } = found;
    return await foresee(found).then(
      (foreseen) => ({ model, foreseen, unfit: null }),
      (error) => ({ model, foreseen: null, unfit: loraError(error).message }),
    );
  } catch (error) {
    const { code, message } = loraError(error);
    if (["hub_missing", "hub_gated", "model_files"].includes(code)) return { gone: message };
    throw error;
  }
}

function offline(): LoraError {
  return new LoraError(
    "fetch_failed",
    `${hostName} cannot be asked: this machine is offline`,
    "A model that this browser has stored can be used all the same.",
  );
}
