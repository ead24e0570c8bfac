/** What was measured on this device's cards, in the browser's storage, a file for each: every card is measured once. */

import { answered, FOLDERS, makeFolder, openFolder, readHeader, writeSealed } from "../api/storage";
import type { Engine } from "./program";

interface Tuned {
  /** With the engine's version: what one measured is nothing to another. */
  card: string;
  /** As the engine writes and reads it. */
  products: string;
}

/** A model is not kept waiting longer for what can be measured again. */
const PATIENCE_MS = 3000;
const NONE = "[]";

/** What cannot be read is measured again. */
export async function recallTuned(engine: Engine): Promise<void> {
  await answered(recall(engine), PATIENCE_MS).catch(() => {});
}

/** Writes what is known of the card, if there is news. Without storage, the next visit measures it again. */
export async function keepTuned(engine: Engine): Promise<void> {
  await answered(keep(engine), PATIENCE_MS).catch(() => {});
}

/** Returns the card and what is stored of it. */
async function recall(engine: Engine): Promise<Tuned> {
  const card = await cardOf(engine);
  const folder = card && (await openFolder(FOLDERS.tuned));
  const read = folder ? await readHeader<Tuned>(folder, fileOf(card)).catch(() => null) : null;
  const products = read?.header.card === card ? read.header.products : NONE;
  engine.remember(products);
  return { card, products };
}

async function keep(engine: Engine) {
  if (engine.measured() === NONE) return;
  // Another tab may have measured other products.
  const { card, products: stored } = await recall(engine);
  const products = engine.measured();
  if (!card || products === stored) return;
  await writeSealed(await makeFolder(FOLDERS.tuned), fileOf(card), { card, products }, []);
}

const fileOf = (card: string) => encodeURIComponent(card).slice(0, 200);

/** Empty if there is none. The engine does not hear from a browser who made the card. */
async function cardOf(engine: Engine): Promise<string> {
  const card = engine.card();
  if (!card) return "";
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  const { vendor, architecture } = adapter?.info ?? { vendor: "", architecture: "" };
  return `${vendor} ${architecture} ${card}`;
}
