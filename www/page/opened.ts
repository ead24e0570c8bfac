/** Opens an adapter from files. One that says it was made for another model is a question first. */

import { signal } from "@preact/signals";
import { adapterInput } from "../api/adapter_input";
import { LoraError } from "../api/errors";
import type { AdapterInput, NotedBase } from "../api/types";
import { session } from "./engine";
import { adapter, changing, downloaded, model, openedFrom, startFrom, text, training } from "./state";
import { complain, forgive } from "./trouble";

/** An adapter that fits the model that is loaded, but says that it was made for another. */
export interface Doubtful {
  /** The file that it is in. */
  name: string;
  input: AdapterInput;
  base: NotedBase;
}

/** The visitor is asked whether to open it. */
export const doubtful = signal<Doubtful | null>(null);

// Another model is another question, and a run has none.
for (const change of [model, training]) {
  change.subscribe(() => {
    doubtful.value = null;
  });
}

export function isAdapter(files: File[]): boolean {
  return files.some(({ name }) => /\.(zip|safetensors)$/i.test(name));
}

let choices = 0;

/** An adapter that cannot be opened leaves the previous one as it was. Of several choices the last one counts. */
export async function openAdapter(files: File[]) {
  const choice = ++choices;
  const engine = await session();
  const [first] = files;
  if (!first || training.value) return;
  if (!engine || model.value.state !== "ready") return complain("keep", needsModel);
  doubtful.value = null;
  try {
    const input = await adapterInput(files, model.value.info);
    const base = await engine.notedBase(input);
    if (choice !== choices) return;
    const name = files.find(({ name }) => !name.endsWith(".json"))?.name ?? first.name;
    forgive("keep");
    if (base.sameName && base.sameWeights !== false) await put(name, input);
    else doubtful.value = { name, input, base };
  } catch (error) {
    if (choice === choices) complain("keep", error);
  }
}

/** The answer to the question: the adapter is opened, or nothing changes. */
export async function answer(wanted: boolean) {
  const asked = doubtful.value;
  doubtful.value = null;
  document.getElementById("keep-title")?.focus();
  if (!asked || !wanted) return;
  try {
    await put(asked.name, asked.input);
  } catch (error) {
    complain("keep", error);
  }
}

const needsModel = new LoraError(
  "no_model",
  "a saved adapter works only together with the model, which is not loaded here",
  "Your file is as it was: open it where the model is loaded, here or in another browser, or in Python with PEFT.",
);

async function put(name: string, { config, weights }: AdapterInput) {
  const engine = await session();
  if (!engine) return;
  await engine.setAdapter(config, weights);
  adapter.value = await engine.adapter();
  openedFrom.value = name;
  downloaded.value = true;
  startFrom.value = null;
}

/** The next run starts from the current adapter. */
export function continueFrom() {
  if (adapter.value?.method !== "lora") return;
  startFrom.value = adapter.value;
  changing.value = text.value ? "train" : null;
  document.getElementById(text.value ? "train-title" : "text-title")?.focus();
}
