/** Gives the worker's script, in a thread of Node, the little that it takes from browsers. */

import { openAsBlob } from "node:fs";
import { parentPort } from "node:worker_threads";

const events = { error: "uncaughtException", unhandledrejection: "unhandledRejection" };

globalThis.self = globalThis;
globalThis.postMessage = (message) => parentPort.postMessage(message);
globalThis.addEventListener = (type, listen) =>
  process.on(events[type], (error) => listen({ message: String(error), reason: error }));

let last = Promise.resolve();
parentPort.on("message", (message) => {
  last = last.then(async () => self.onmessage({ data: await opened(message) }));
});

/** The message with the files whose paths it has. Only models have such files. */
async function opened(message) {
  const files = message.input?.files;
  if (files) for (const [key, value] of Object.entries(files)) files[key] = await openedFile(value);
  return message;
}

async function openedFile(value) {
  if (value?.path !== undefined) return openAsBlob(value.path);
  if (value?.index === undefined) return value;
  const files = Object.entries(value.files).map(async ([name, file]) => [name, await openedFile(file)]);
  return { index: await openedFile(value.index), files: Object.fromEntries(await Promise.all(files)) };
}

await import("./worker.js");
