/** The bytes of a response as they arrive, from a position on, also from a server that knows no ranges. */

import { brokeOff } from "./line";

/** A connection that is silent for so long is taken to be dead. */
const SILENCE_MS = 20_000;

export async function* piecesFrom(response: Response, from: number): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  // Status 200 means that the whole file comes.
  let skip = response.status === 206 ? 0 : from;
  try {
    for (;;) {
      const { done, value } = await unlessSilent(reader.read());
      if (done) return;
      const rest = value.subarray(Math.min(skip, value.length));
      skip -= value.length - rest.length;
      if (rest.length > 0) yield rest;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function unlessSilent<T>(reading: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(brokeOff()), SILENCE_MS);
    reading.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
