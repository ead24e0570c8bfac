/** What this browser keeps for the address of the page, how much room it takes, and its end. */

import { effect, signal } from "@preact/signals";
import { listKept } from "../api/kept_store";
import { deleteFolder, FOLDERS } from "../api/storage";
import { shelf } from "./kept";
import { deleteAlone } from "./lock";
import { picked } from "./pick";
import { complain } from "./trouble";
import { lookForUnfinished, unfinished } from "./unfinished";

/** In bytes, as the browser estimates it for all pages of the host; null where it does not. */
export const room = signal<{ used: number; allowed: number } | null>(null);
/** Everything is deleted, and nothing was kept since. */
export const emptied = signal(false);
effect(() => {
  if (shelf.value.length > 0 || unfinished.value) emptied.value = false;
});

export async function measureRoom() {
  const { usage: used, quota: allowed } = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
  room.value = used === undefined || allowed === undefined ? null : { used, allowed };
}

/** Nothing is left of the page or of its visitor; what other pages of the host keep stays. */
export function deleteEverything() {
  return deleteAlone("kept", async () => {
    try {
      await deleteOfflineCopy();
      // It may be one of the Hub, whose files go.
      picked.value = null;
      for (const name of Object.values(FOLDERS)) await deleteFolder(name);
      shelf.value = [];
      unfinished.value = null;
      emptied.value = true;
    } catch (error) {
      complain("kept", error);
      shelf.value = await listKept().catch(() => []);
      await lookForUnfinished();
    }
    await measureRoom();
  });
}

async function deleteOfflineCopy() {
  const own = new URL("./", document.baseURI).href;
  for (const registration of (await navigator.serviceWorker?.getRegistrations()) ?? [])
    if (registration.scope === own) await registration.unregister();
  for (const name of await caches.keys()) if (name.startsWith(`tabtune ${own} `)) await caches.delete(name);
}
