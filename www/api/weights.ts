/** Where a model's files come from. A `Blob` is a source of ranges: a slice is read only when it is asked for. */

import { type Count, fetchThing } from "./fetching";

export interface RangeSource {
  bytes: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface ModelFiles {
  name: string;
  config: Blob;
  tokenizer: Blob;
  tokenizerConfig?: Blob;
  generationConfig?: Blob;
  chatTemplate?: Blob;
  weights: Blob;
}

export function blobSource(blob: Blob): RangeSource {
  return {
    bytes: blob.size,
    read: async (offset, length) => bytesOf(blob.slice(offset, offset + length)),
  };
}

export async function bytesOf(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await blob.arrayBuffer());
}

/** Fetches the four files of a checkpoint. */
export async function fetchModel(name: string, folder: string, count?: Count): Promise<ModelFiles> {
  const file = (path: string) => fetchThing("the model", `${folder}/${path}`, (response) => response.blob(), count);
  const [config, tokenizer, tokenizerConfig, weights] = await Promise.all([
    file("config.json"),
    file("tokenizer.json"),
    file("tokenizer_config.json"),
    file("model.safetensors"),
  ]);
  return { name, config, tokenizer, tokenizerConfig, weights };
}
