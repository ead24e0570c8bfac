/** Where a model's files come from. A `Blob` is a source of ranges: a slice is read only when it is asked for. */

export interface RangeSource {
  bytes: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Weights in several files: the index says which tensor is in which of them. */
export interface Sharded<Part> {
  index: Part;
  files: Record<string, Part>;
}

/** The files of a Hugging Face checkpoint, or one GGUF file. */
export type ModelFiles = CheckpointFiles | GgufFile;

export interface CheckpointFiles {
  name: string;
  config: Blob;
  tokenizer: Blob;
  tokenizerConfig?: Blob;
  generationConfig?: Blob;
  chatTemplate?: Blob;
  weights: Blob | Sharded<Blob>;
}

export interface GgufFile {
  name: string;
  gguf: Blob;
}

export function blobSource(blob: Blob): RangeSource {
  return {
    bytes: blob.size,
    read: async (offset, length) => bytesOf(blob.slice(offset, offset + length)),
  };
}

export function weightSource(weights: Blob | Sharded<Blob>): RangeSource | Sharded<RangeSource> {
  if (weights instanceof Blob) return blobSource(weights);
  const files = Object.entries(weights.files).map(([name, file]) => [name, blobSource(file)]);
  return { index: blobSource(weights.index), files: Object.fromEntries(files) };
}

/** The bytes of the files that the weights are in. */
export function bytesOnDisk(files: ModelFiles): number {
  if ("gguf" in files) return files.gguf.size;
  if (files.weights instanceof Blob) return files.weights.size;
  return Object.values(files.weights.files).reduce((sum, { size }) => sum + size, 0);
}

export async function bytesOf(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await blob.arrayBuffer());
}
