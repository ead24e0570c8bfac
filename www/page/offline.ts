/** After the first visit the page works without a network: a service worker keeps all its files, of one version. */

import { signal } from "@preact/signals";
import { addressOf } from "./scripts";

/** A newer version is here, and waits until no tab shows the older one. */
export const newerWaits = signal(false);

export async function keepOffline() {
  const register = () =>
    navigator.serviceWorker?.register(addressOf("offline"), { scope: "./", updateViaCache: "none" });
  // Browsers without a service worker, private windows among them, do without; the page needs the network then.
  const found = await register()?.catch(() => undefined);
  if (!found) return;
  const look = () => {
    newerWaits.value = found.active !== null && found.waiting !== null;
  };
  const watch = () => found.installing?.addEventListener("statechange", look);
  look();
  watch();
  found.addEventListener("updatefound", watch);
}
