/** Merges an adapter in several forms, in Node as in a page, and looks at what comes of it. */

import { LoraAdapter, LoraModel } from "tabtune";
import base from "tabtune-base";

const options = { device: "cpu", workers: 1, seqLen: 32, batch: 1 };
export const forms = {
  "as-base": {},
  "half-strength": { strength: 0.5 },
  f32: { type: "f32" },
  "gguf-f16": { format: "gguf" },
  "gguf-q8_0": { format: "gguf", type: "q8_0" },
};

export const create = (model = base) => LoraModel.create({ model, ...options });

/** The SHA-256 of every file of every form. */
export async function hashes(zip) {
  const [model, adapter] = [await create(), await LoraAdapter.from(zip)];
  const all = {};
  for (const [form, chosen] of Object.entries(forms)) {
    const { files } = await model.merge({ adapter, ...chosen });
    for (const { name, bytes, stream } of files) {
      const content = await new Response(stream()).arrayBuffer();
      if (content.byteLength !== bytes) throw new Error(`${name} has ${content.byteLength} bytes, not ${bytes}`);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
      all[`${form} ${name}`] = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
  }
  model.destroy();
  return all;
}

/** What a folder of the browser's storage holds after `toFolder`, and what is there after one that was aborted. */
export async function folders(zip) {
  const [model, adapter] = [await create(), await LoraAdapter.from(zip)];
  const root = await navigator.storage.getDirectory();
  const sizes = async (name, signal, act) => {
    const folder = await root.getDirectoryHandle(name, { create: true });
    const merged = await model.merge({ adapter, signal });
    const writing = merged.toFolder(folder);
    act();
    const end = await writing.then(
      () => "written",
      ({ code }) => code,
    );
    const found = {};
    for await (const [name, file] of folder.entries()) found[name] = (await file.getFile()).size;
    const wanted = Object.fromEntries(merged.files.map(({ name, bytes }) => [name, bytes]));
    return { end, found, wanted };
  };
  const controller = new AbortController();
  const whole = await sizes("whole", undefined, () => {});
  const aborted = await sizes("aborted", controller.signal, () => controller.abort());
  model.destroy();
  return { whole, aborted };
}
