/** How long a run would take: two real steps, measured as soon as there is a text and whenever a setting changes. */

import { effect, signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import type { Probe } from "../api/events";
import { isLost, session } from "./engine";
import { settings } from "./settings";
import { model, text, training } from "./state";
import { read } from "./text";
import { complain, forgive, toSettings } from "./trouble";

/** A moment of quiet before measuring, so that typing "150" does not measure 1, 15 and 150. */
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
    if (key === measured && taken.summary) return;
    measured = key;
    estimate.value = "measuring";
    clearTimeout(timer);
    timer = window.setTimeout(() => measure(key), taken.summary ? QUIET_MS : 0);
  });
}

async function measure(key: string) {
  const wanted = settings.peek();
  const taken = text.peek();
  const engine = await session();
  if (!wanted || !taken || !engine) return;
  try {
    const now = await read(taken);
    if (text.peek() === taken) text.value = now;
    const probe = await engine.probe(wanted);
    if (key !== measured) return;
    estimate.value = probe;
    forgive("model");
  } catch (error) {
    estimate.value = null;
    complainWhereItHelps(error as LoraError);
  }
}

/** Codes of texts that are conversations. */
const aboutChats = ["no_chat_template", "conversation", "chat_template"];

/** An error of the engine is told in the card where the visitor can do something about it. */
export function complainWhereItHelps(error: LoraError) {
  const { code } = error;
  if (isLost(error)) return;
  if (code.startsWith("text_") || code.startsWith("data_") || aboutChats.includes(code)) return complain("text", error);
  if (code !== "setting" && !code.startsWith("gpu_")) return complain("train", error);
  complain("model", error, toSettings);
}
