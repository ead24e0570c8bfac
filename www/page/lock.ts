/**
 * One run at a time on this machine: a Web Lock that the training tab holds, exclusively. It also keeps a hidden tab from being
 * frozen, and whoever holds it may write where runs are stored. Browsers give it back when the tab is closed or crashes.
 */

import { signal } from "@preact/signals";

const NAME = "tabtune-run";
/** A tab that only looks at what is stored has the lock for a moment, which is not worth a word. */
const MOMENT_MS = 300;

/** Another tab of this page is training. */
export const elsewhere = signal(false);

let afterwards: () => Promise<void> = async () => {};

/** Does `act` while holding the lock; if another tab has it, does nothing but say so, and waits for its end. */
export async function alone(act: () => Promise<void>) {
  if (!navigator.locks) return act();
  const attempt = () =>
    navigator.locks.request(NAME, { ifAvailable: true }, async (lock) => {
      if (lock) await act();
      return lock !== null;
    });
  if (await attempt()) return;
  await new Promise((resolve) => setTimeout(resolve, MOMENT_MS));
  if (!(await attempt())) waitForTheOther();
}

/** Does `act` alone now, and again whenever another tab was done. */
export function wheneverAlone(act: () => Promise<void>) {
  afterwards = act;
  return alone(act);
}

function waitForTheOther() {
  if (elsewhere.value) return;
  elsewhere.value = true;
  navigator.locks.request(NAME, async () => {
    await afterwards();
    elsewhere.value = false;
  });
}
