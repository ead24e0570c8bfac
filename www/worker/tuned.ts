/** What was measured on this device's card, in the browser's storage: every card is measured once. */

import { answered, FOLDERS, makeFolder, openFolder, readHeader, writeSealed } from "../api/storage";
import type { Engine } from "./program";

const FILE = "card";

interface Tuned {
  /** With the engine's version: what one measured is nothing to another. */
  card: string;
  /** As the engine writes and reads it. */
  products: string;
}

let kept = "";

/** What cannot be read is measured again. */
export async function recallTuned(engine: Engine): Promise<void> {
  const card = await cardOf(engine);
  if (!card) return;
  const folder = await openFolder(FOLDERS.tuned);
  const read = folder && (await readHeader<Tuned>(folder, FILE).catch(() => null));
  if (read?.header.card !== card) return;
  kept = read.header.products;
  engine.remember(kept);
}

/** Writes what is known of the card, if there is news. Without storage, the next visit measures it again. */
export async function keepTuned(engine: Engine): Promise<void> {
  const products = engine.measured();
  const card = await cardOf(engine);
  if (!card || products === kept) return;
  kept = products;
  await answered(writeTuned({ card, products })).catch(() => {});
}

async function writeTuned(tuned: Tuned) {
  await writeSealed(await makeFolder(FOLDERS.tuned), FILE, tuned, []);
}

/** Empty if there is none. The engine does not hear from a browser who made the card. */
async function cardOf(engine: Engine): Promise<string> {
  const card = engine.card();
  if (!card) return "";
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  const { vendor, architecture } = adapter?.info ?? { vendor: "", architecture: "" };
  return `${vendor} ${architecture} ${card}`;
}
