/**
 * One run at a time on this machine: a Web Lock that the training tab holds, exclusively. It also keeps a hidden tab from being
 * frozen. Browsers give it back when the tab is closed or crashes.
 */

import { signal } from "@preact/signals";

const NAME = "tabtune-run";

/** Another tab of this page is training. */
export const elsewhere = signal(false);

/** Does `act` while holding the lock; if another tab has it, does nothing but say so, and waits for its end. */
export async function alone(act: () => Promise<void>) {
  if (!navigator.locks) return act();
  await navigator.locks.request(NAME, { ifAvailable: true }, (lock) => (lock ? act() : waitForTheOther()));
}

/** Is somebody training already? `then` is called now or when they are done, and again whenever another tab was done. */
export async function lookElsewhere(then: () => void) {
  afterwards = then;
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  if (held.some(({ name }) => name === NAME)) waitForTheOther();
  else then();
}

let afterwards = () => {};

function waitForTheOther() {
  if (elsewhere.value) return;
  elsewhere.value = true;
  navigator.locks.request(NAME, { mode: "shared" }, () => {
    elsewhere.value = false;
    afterwards();
  });
}
