/**
 * One run at a time on this machine: the tab that trains holds a Web Lock. The lock also keeps a hidden tab from being
 * frozen, and only its holder may write where runs are stored. Browsers release it when the tab is closed or crashes.
 */

import { effect, signal } from "@preact/signals";
import { LoraError } from "../api/errors";
import { run, text, training } from "./state";
import { complain, forgive, type Place } from "./trouble";

const NAME = "tabtune-run";
/** A tab that only looks at what is stored holds the lock for a moment, which is not worth mentioning. */
const MOMENT_MS = 300;

/** Another tab of this page is training. */
export const otherTabTrains = signal(false);

interface OtherRun {
  /** The name of its text. */
  text: string;
  step: number;
  total: number;
}

/** What it says of its run. */
export const otherRun = signal<OtherRun | null>(null);
const tabs = new BroadcastChannel(NAME);
tabs.onmessage = ({ data }: MessageEvent<OtherRun>) => {
  otherRun.value = data;
};
const TELLING_MS = 1000;

/** Tells other tabs of the run in this one. */
export function keepTellingTabs() {
  let told = Number.NEGATIVE_INFINITY;
  effect(() => {
    const [now, taken] = [run.value, text.value];
    if (!training.value || !now || !taken || performance.now() - told < TELLING_MS) return;
    told = performance.now();
    tabs.postMessage({ text: taken.name, step: now.step, total: now.total } satisfies OtherRun);
  });
}

let afterwards: () => Promise<void> = async () => {};

/**
 * Calls `act` while holding the lock, and returns true. If another tab holds it, says so, waits until it is free, and
 * returns false.
 */
export async function alone(act: () => Promise<void>): Promise<boolean> {
  if (!navigator.locks) {
    await act();
    return true;
  }
  const attempt = () =>
    navigator.locks.request(NAME, { ifAvailable: true }, async (lock) => {
      if (lock) await act();
      return lock !== null;
    });
  if (await attempt()) return true;
  await new Promise((resolve) => setTimeout(resolve, MOMENT_MS));
  if (await attempt()) return true;
  waitForOtherTab();
  return false;
}

/** Deletes what is stored, alone; if another tab trains, it says at `place` that nothing is deleted. */
export async function deleteAlone(place: Place, act: () => Promise<void>) {
  forgive(place);
  const what = "nothing was deleted: another tab of this page is training";
  const hint = "Stop the run there or close that tab, then try again.";
  if (!(await alone(act))) complain(place, new LoraError("other_tab", what, hint));
}

/** Calls `act` alone now, and again whenever another tab is done. */
export function wheneverAlone(act: () => Promise<void>) {
  afterwards = act;
  return alone(act);
}

function waitForOtherTab() {
  if (otherTabTrains.value) return;
  otherTabTrains.value = true;
  navigator.locks.request(NAME, async () => {
    await afterwards();
    otherTabTrains.value = false;
    otherRun.value = null;
  });
}
