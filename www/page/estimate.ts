/** How long a run would take: a short one is timed when there is a text, and again whenever a setting changes. */

import { effect, signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import type { Probe } from "../api/types";
import { isLost, session } from "./engine";
import { settings } from "./settings";
import { model, text, training } from "./state";
import { show } from "./text";
import { complain, forgive, toSettings } from "./trouble";

/** Wait for a moment without changes, so that typing "150" does not measure 1, 15 and 150. */
const QUIET_MS = 500;

export const estimate = signal<Probe | "measuring" | null>(null);

let measured = "";
let timer = 0;

export function keepEstimating() {
  effect(() => {
    const wanted = settings.value;
    const taken = text.value;
    if (!wanted || !taken || model.value.state !== "ready" || training.value) return;
    const { prompt: _, ...shape } = wanted;
    const sizes = taken.documents.map((document) => document.content.size);
    const { name, sha256 } = model.value.info;
    const key = JSON.stringify([shape, name, sha256, sizes]);
    if (key === measured && taken.dataset) return;
    measured = key;
    estimate.value = "measuring";
    clearTimeout(timer);
    timer = window.setTimeout(() => measure(key), taken.dataset ? QUIET_MS : 0);
  });
}

async function measure(key: string) {
  const wanted = settings.peek();
  const taken = text.peek();
  const engine = await session();
  if (!wanted || !taken || !engine) return;
  try {
    const probe = await engine.probe(await show(taken, wanted), wanted);
    if (key !== measured) return;
    estimate.value = probe;
    forgive("model");
  } catch (error) {
    estimate.value = null;
    complainWhereItHelps(error as LoraError);
  }
}

/** Codes of errors in texts that hold conversations. */
const aboutChats = ["no_chat_template", "conversation", "chat_template"];

/** Shows an error of the engine in the card where the visitor can do something about it. */
export function complainWhereItHelps(error: LoraError) {
  const { code } = error;
  if (isLost(error)) return;
  if (code.startsWith("text_") || code.startsWith("data_") || aboutChats.includes(code)) return complain("text", error);
  if (code !== "setting" && !code.startsWith("gpu_")) return complain("train", error);
  complain("model", error, toSettings);
}
