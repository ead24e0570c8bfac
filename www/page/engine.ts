/** The life of the worker: the first start, and a fresh one when it trapped or the graphics card was lost. */

import { availability } from "../api/availability";
import type { LoraError } from "../api/errors";
import { fetchProgram, Session } from "../api/session";
import { fetchModel, type ModelFiles } from "../api/weights";
import { adapter, type ModelConfig, model } from "./state";
import { complain, forgive } from "./trouble";

interface Parts {
  program: WebAssembly.Module;
  files: ModelFiles;
  config: ModelConfig;
}

/** Fetched once: a fresh worker starts from the same parts, without a request. */
let parts: Promise<Parts> | undefined;
let current: Promise<Session | null> = Promise.resolve(null);
let tellLost: (error: LoraError) => void = () => {};

/** The session that has the model in it, or null where there is none. */
export const session = () => current;

export function start(onLost: (error: LoraError) => void) {
  tellLost = onLost;
  current = openIfAvailable();
}

async function openIfAvailable(): Promise<Session | null> {
  const available = await availability();
  if (available.state === "available") return open().catch(giveUp);
  model.value = { ...available, state: "absent" };
  return null;
}

async function open(): Promise<Session> {
  parts ??= fetchParts();
  const { program, files, config } = await parts;
  const fresh = new Session();
  try {
    const loaded = await fresh.load(program, files);
    const kept = adapter.value;
    if (kept) await fresh.setAdapter(kept.config, kept.weights);
    fresh.lost.then(replace);
    model.value = { state: "ready", config, ...loaded };
    return fresh;
  } catch (error) {
    fresh.close();
    throw error;
  }
}

async function fetchParts(): Promise<Parts> {
  const onBytes = (done: number, total: number) => {
    model.value = { state: "loading", done, total };
  };
  const [program, files] = await Promise.all([fetchProgram(), fetchModel("Built-in story model", "./base", onBytes)]);
  return { program, files, config: JSON.parse(await files.config.text()) };
}

/** The engine is gone, and a fresh one is on its way: `start`'s listener tells the visitor. */
export const isLost = (error: LoraError) => error.code === "engine_lost" || error.code === "device_lost";

function replace(error: LoraError) {
  current = open().catch(giveUp);
  tellLost(error);
}

/** An engine that cannot be started leaves the page alive, with a button to try again. */
function giveUp(error: unknown): null {
  model.value = { state: "failed" };
  complain("model", error, { label: "Try again", press: retry });
  return null;
}

function retry() {
  forgive("model");
  model.value = { state: "loading", done: 0, total: 0 };
  parts = parts?.catch(() => fetchParts());
  current = open().catch(giveUp);
}
