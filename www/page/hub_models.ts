/** Models of the Hugging Face Hub: looked up, fetched, kept in the browser's storage, and deleted there. */

import { signal } from "@preact/signals";
import { persist } from "../api/fetching";
import {
  deleteStored,
  type Found,
  HUB,
  type HubModel,
  type HubOptions,
  listStored,
  lookUp,
  openHub,
  type Progress,
  type StoredModel,
} from "../api/hub";
import type { Foreseen } from "../api/types";
import { session } from "./engine";
import { fetchingModel, offer, picked } from "./pick";
import { hubRequests } from "./privacy";
import { emptied } from "./room";
import { hub, weights } from "./settings";
import { announce } from "./state";
import { complain, forgive } from "./trouble";
import { percent } from "./words";

type Stage =
  | { state: "idle" }
  | { state: "looking"; id: string }
  | { state: "found"; model: HubModel; foreseen: Foreseen | null }
  | { state: "fetching"; model: HubModel; progress: Progress | null };

export const stage = signal<Stage>({ state: "idle" });
/** What stands in the box for a name. */
export const written = signal("");
export const stored = signal<StoredModel[]>([]);
/** The last model could not be stored: it is in memory, and ends with the tab. */
export const unkept = signal(false);

export const host = hub === "auto" ? HUB : hub;
/** "huggingface.co". */
export const hostName = new URL(host).host;

const IDLE: Stage = { state: "idle" };
let leaving = new AbortController();
/** The download under way, or the last one. */
let under: Promise<void> = Promise.resolve();

/** For models that the Hub does not give to everybody. In memory alone: a reload forgets it. */
export const token = signal("");

export const options = (revision?: string): HubOptions => ({
  hub: host,
  ...(token.value ? { token: token.value } : {}),
  ...(revision ? { revision } : {}),
  signal: leaving.signal,
  onRequest: () => {
    hubRequests.value++;
  },
});

export async function refresh() {
  stored.value = await listStored().catch(() => []);
}

/** Asks about `org/name`, `org/name@revision` or the address of a model's page. */
export async function look(name: string) {
  const [id = "", revision] = name.trim().replace(`${host}/`, "").split("@");
  await act({ state: "looking", id }, async () => {
    const found = await lookUp(id, options(revision));
    stage.value = { state: "found", model: found.model, foreseen: await foresee(found) };
  });
}

/** What the Hub said before is shown again. */
export function show({ model, foreseen }: { model: HubModel; foreseen: Foreseen | null }) {
  forgive("model");
  picked.value = null;
  focusTitle();
  stage.value = { state: "found", model, foreseen };
}

export async function foresee({ outline }: Found): Promise<Foreseen | null> {
  const engine = await session();
  return outline && engine ? engine.foresee(outline, weights.value) : null;
}

/** Fetches what is not there yet, and offers to load it. */
export async function fetchModel(model: HubModel) {
  // Browsers keep what they were asked to keep when the disk runs low.
  navigator.storage?.persist?.();
  emptied.value = false;
  fetchingModel.value = true;
  under = act({ state: "fetching", model, progress: null }, async () => {
    const onProgress = (progress: Progress) => {
      stage.value = { state: "fetching", model, progress };
      announce(`${percent(progress.done / Math.max(1, progress.total))} of ${model.id} has arrived`);
    };
    const { token: secret, ...others } = options(model.commit);
    // A token goes to the Hub that it was given for.
    const own = model.hub === host && secret ? { token: secret } : {};
    const { files, kept } = await openHub(model.id, { ...others, ...own, hub: model.hub, onProgress });
    unkept.value = !kept;
    stage.value = IDLE;
    await offer(files);
  }).then(() => {
    fetchingModel.value = false;
    return refresh();
  });
  await under;
}

/** The button that was pressed may go. */
const focusTitle = () => document.getElementById("hub-title")?.focus();

/** What has arrived stays. */
export function pause() {
  focusTitle();
  leaving.abort();
}

export async function remove(model: HubModel) {
  pause();
  await under;
  if (picked.value?.files.name === model.id) picked.value = null;
  // A worker that was ended may hold a file for a moment longer.
  await persist(() => deleteStored(model)).catch((error) => complain("model", error));
  await refresh();
}

export function close() {
  focusTitle();
  stage.value = IDLE;
}

/** Does what ends at `pause`; an error is reported and leads back to the list. */
async function act(begun: Stage, act: () => Promise<void>) {
  forgive("model");
  picked.value = null;
  focusTitle();
  leaving = new AbortController();
  const { signal } = leaving;
  stage.value = begun;
  try {
    await act();
  } catch (error) {
    stage.value = IDLE;
    if (!signal.aborted) complain("model", error);
  }
}
