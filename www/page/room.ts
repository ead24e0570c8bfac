/** What this browser keeps for the address of the page, how much room it takes, and its end. */

import { signal } from "@preact/signals";
import { listKept } from "../api/kept_store";
import { shelf } from "./kept";
import { alone } from "./lock";
import { complain } from "./trouble";
import { unfinished } from "./unfinished";

/** In bytes, as the browser estimates it; null where it does not. */
export const room = signal<{ used: number; allowed: number } | null>(null);
export const emptied = signal(false);

export async function measureRoom() {
  const { usage: used, quota: allowed } = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
  room.value = used === undefined || allowed === undefined ? null : { used, allowed };
}

/** Nothing is left of the page or of its visitor, unless another tab is training. */
export function deleteEverything() {
  return alone(async () => {
    try {
      for (const registration of (await navigator.serviceWorker?.getRegistrations()) ?? [])
        await registration.unregister();
      for (const name of await caches.keys()) await caches.delete(name);
      const root = await navigator.storage?.getDirectory?.();
      for await (const name of root?.keys() ?? []) await root?.removeEntry(name, { recursive: true });
      for (const { name } of (await indexedDB.databases?.()) ?? []) if (name) indexedDB.deleteDatabase(name);
      localStorage.clear();
      sessionStorage.clear();
      emptied.value = true;
    } catch (error) {
      complain("kept", error);
    }
    unfinished.value = null;
    shelf.value = await listKept().catch(() => []);
    await measureRoom();
  });
}
