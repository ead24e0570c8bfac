/** Where a model's files come from. A `Blob` is a source of ranges: a slice is read only when it is asked for. */

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

/** Fetches the four files of a checkpoint; `onBytes` gets how many bytes of the weights have arrived, of how many. */
export async function fetchModel(
  name: string,
  folder: string,
  onBytes: (done: number, total: number) => void,
): Promise<ModelFiles> {
  const [config, tokenizer, tokenizerConfig, weights] = await Promise.all([
    fetchBlob(`${folder}/config.json`),
    fetchBlob(`${folder}/tokenizer.json`),
    fetchBlob(`${folder}/tokenizer_config.json`),
    fetchBlob(`${folder}/model.safetensors`, onBytes),
  ]);
  return { name, config, tokenizer, tokenizerConfig, weights };
}

export async function fetchBlob(url: string, onBytes?: (done: number, total: number) => void): Promise<Blob> {
  const response = await fetch(url);
  if (!response.ok || !response.body) throw new Error(`${url}: the server replied with status ${response.status}`);
  // The length of a compressed body says nothing about how much comes out of it.
  const length = response.headers.has("content-encoding") ? null : response.headers.get("content-length");
  const total = Number(length ?? 0);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let done = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    done += part.value.length;
    onBytes?.(done, total);
  }
  return new Blob(parts);
}
