/** Starts the worker, and a new one when it trapped or the graphics card was lost. */

import { signal } from "@preact/signals";
import { availability } from "../api/availability";
import type { LoraError } from "../api/errors";
import { fetchModel } from "../api/fetch_model";
import { fetchProgram } from "../api/fetch_program";
import { Session } from "../api/session";
import type { DeviceChoice, Event, WeightsChoice } from "../api/types";
import type { ModelFiles } from "../api/weights";
import { count } from "./arrival";
import { whenLocked } from "./privacy";
import { addressOf, fetchWorkerScript } from "./scripts";
import { device, weights, workers } from "./settings";
import { adapter, faster, model } from "./state";
import { complain, forgive } from "./trouble";

interface Parts {
  program: WebAssembly.Module;
  files: ModelFiles;
}

/** Fetched once: a new worker starts from the same parts, without a request. */
const builtInProgram = once(() => fetchProgram(count));
const workerScript = once(fetchWorkerScript);
const builtInFiles = once(() => fetchModel("Built-in story model", "./base", count));
/** The parts of a model from the visitor's disk, while it is the one in use. */
let local: Parts | null = null;
let current: Promise<Session | null> = Promise.resolve(null);
let tellLost: (error: LoraError) => void = () => {};

/** Everything that an engine needs is here. */
export const fetched = signal(false);
/** Somebody waits for the model. */
export const awaited = signal(false);

/** The session that has the model in it, or null if there is none. */
export function session(): Promise<Session | null> {
  awaited.value = true;
  return current;
}

export function start(onLost: (error: LoraError) => void) {
  tellLost = onLost;
  current = openIfAvailable();
}

async function openIfAvailable(): Promise<Session | null> {
  const found = await availability(device.value);
  if (found.state === "available") {
    faster.value = found.faster ?? null;
    return open().catch(giveUp);
  }
  const { code, reason, advice } = found;
  model.value = { state: "absent", noCard: code === "no_gpu", reason, advice };
  return null;
}

/** Starts the model again, on this device. The adapter stays. */
export function computeOn(wanted: DeviceChoice) {
  device.value = wanted;
  return restart();
}

/** Starts the model again, with its matrices stored so. The adapter stays; rows of a text must be cut again. */
export function storeAs(wanted: WeightsChoice) {
  weights.value = wanted;
  return restart();
}

async function restart() {
  const before = current;
  current = before
    .then((old) => old?.close())
    .then(open)
    .catch(giveUp);
  await current;
}

async function open(): Promise<Session> {
  return openWith(local ?? (await builtIn()), local === null, async (fresh) => {
    const kept = adapter.value;
    // That of a model which could not be started again fits no other.
    if (kept) await fresh.setKept(kept).catch((error) => complain("keep", error));
  });
}

/**
 * Replaces the model in use: by one from the visitor's disk or, with null, by the built-in one. The old engine ends
 * first, so that two models never share the device's memory; after an error it is started again, and everything is as
 * it was. `settle` is called when the new one is there.
 */
export async function change(files: ModelFiles | null, onEvent: (event: Event) => void, settle: () => void) {
  const own = await builtIn();
  const wanted = files && { program: own.program, files };
  const before = await current;
  before?.close();
  const opening = openWith(wanted ?? own, wanted === null, async () => settle(), onEvent);
  // Whoever asks for the session meanwhile gets the new one or, after an error, the old one.
  const opened = opening.catch(open).catch(giveUp);
  current = opened;
  try {
    await opening;
    local = wanted;
  } catch (error) {
    await opened;
    throw error;
  }
}

async function openWith(
  { program, files }: Parts,
  isBuiltIn: boolean,
  prepare: (fresh: Session) => Promise<void>,
  onEvent?: (event: Event) => void,
): Promise<Session> {
  await whenLocked;
  const fresh = await Session.start(addressOf("worker"));
  try {
    const loaded = await fresh.load(program, files, {
      device: device.value,
      weights: weights.value,
      ...(workers === "auto" ? {} : { workers: Number(workers) }),
      ...(onEvent ? { onEvent } : {}),
    });
    await prepare(fresh);
    fresh.lost.then((error) => replace(fresh, error));
    current = Promise.resolve(fresh);
    model.value = { state: "ready", builtIn: isBuiltIn, ...loaded };
    return fresh;
  } catch (error) {
    fresh.close();
    throw error;
  }
}

async function builtIn(): Promise<Parts> {
  const [program, files] = await Promise.all([builtInProgram(), builtInFiles(), workerScript()]);
  fetched.value = true;
  return { program, files };
}

/** The promise of the first call, until it fails: then the next call tries again. */
function once<T>(act: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | undefined;
  return () => {
    kept ??= act().catch((error) => {
      kept = undefined;
      throw error;
    });
    return kept;
  };
}

/** The engine is gone and a new one is being started: `start`'s listener tells the visitor. */
export const isLost = (error: LoraError) => ["engine_lost", "device_lost", "closed"].includes(error.code);

async function replace(old: Session, error: LoraError) {
  if ((await current) !== old) return;
  current = open().catch(giveUp);
  tellLost(error);
}

/** If no engine can be started, the page lives on, with a button to try again. */
function giveUp(error: unknown): null {
  model.value = { state: "failed" };
  const label = local ? "Back to the built-in model" : "Try again";
  local = null;
  complain("model", error, { label, press: retry });
  return null;
}

function retry() {
  forgive("model");
  model.value = { state: "loading" };
  current = open().catch(giveUp);
}
