/** A model with an adapter merged into it: the files of a checkpoint, or one of llama.cpp, each as a stream. */

import type { MergeOptions } from "./options";
import type { Merge } from "./protocol";
import type { Session } from "./session";
import { unlessAborted } from "./turns";
import type { AdapterInput, MergedType, Notice } from "./types";
import { zipped, zippedBytes } from "./zip_stream";

type Bytes = Uint8Array<ArrayBuffer>;

/** A file that is computed while it is read, piece by piece, and again whenever it is read again. */
export interface MergedFile {
  readonly name: string;
  readonly bytes: number;
  /** Read it to its end or cancel it: what is left open holds memory until the model's end. */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
}

interface Parts {
  session: Pick<Session, "openMerged" | "readMerged" | "closeMerged">;
  merge: Merge;
  signal?: AbortSignal | undefined;
}

export class MergedModel {
  /** Of a checkpoint, what belongs into one folder; `model.gguf` alone otherwise. */
  readonly files: readonly MergedFile[];
  /** What there is to say about the result, although it can be used. */
  readonly warnings: readonly Notice[];
  /** What all of it is called as one file: `model.zip` or `model.gguf`. */
  readonly name: string;
  /** How many bytes that one file has. */
  readonly bytes: number;
  #parts: Parts;

  constructor(parts: Parts, files: { name: string; bytes: number }[], warnings: Notice[]) {
    this.#parts = parts;
    this.files = files.map(({ name, bytes }) => ({ name, bytes, stream: () => streamOf(pieces(parts, name)) }));
    this.warnings = warnings;
    const isOne = parts.merge.format === "gguf";
    this.name = isOne ? "model.gguf" : "model.zip";
    this.bytes = isOne ? files.reduce((sum, { bytes }) => sum + bytes, 0) : zippedBytes(files);
  }

  /** All of it as one file: the GGUF file, or a zip with the files of the checkpoint. */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return streamOf(this.#whole());
  }

  /** The same in a blob, for models that the memory has room for. */
  async toBlob(): Promise<Blob> {
    const parts: Blob[] = [];
    // A browser may move blobs to the disk, but not arrays.
    for await (const piece of this.#whole()) parts.push(new Blob([piece]));
    return new Blob(parts, { type: this.name.endsWith(".zip") ? "application/zip" : "application/octet-stream" });
  }

  /** Writes the files into a folder, as `showDirectoryPicker` or the browser's storage gives one. */
  async toFolder(folder: FileSystemDirectoryHandle): Promise<void> {
    for (const { name, stream } of this.files) {
      const file = await folder.getFileHandle(name, { create: true });
      await stream().pipeTo(await file.createWritable());
    }
  }

  #whole(): AsyncGenerator<Bytes, void, undefined> {
    const parts = this.#parts;
    if (parts.merge.format === "gguf") return pieces(parts, this.name);
    return zipped(this.files.map(({ name, bytes }) => ({ name, bytes, pieces: () => pieces(parts, name) })));
  }
}

/** Nothing of the weights is read yet. */
export async function mergeModel(
  session: Session,
  { config, weights }: AdapterInput,
  {
    strength = 1,
    format = "safetensors",
    type,
  }: Pick<MergeOptions, "strength" | "format"> & { type?: MergedType | undefined },
  signal?: AbortSignal,
): Promise<MergedModel> {
  const merge = { config, weights: new Blob([weights]), strength, format, ...(type ? { type } : {}) };
  const { files, warnings } = await unlessAborted(signal, session.merged(merge));
  return new MergedModel({ session, merge, signal }, files, warnings);
}

let opened = 0;

async function* pieces({ session, merge, signal }: Parts, name: string): AsyncGenerator<Bytes, void, undefined> {
  const id = ++opened;
  // Of an engine that is gone, nothing is open.
  const close = () => void session.closeMerged(id).catch(() => {});
  try {
    await unlessAborted(signal, session.openMerged(id, merge, name));
    for (;;) {
      const piece = await unlessAborted(signal, session.readMerged(id));
      if (!piece) return;
      yield piece;
    }
  } finally {
    close();
  }
}

function streamOf(pieces: AsyncGenerator<Bytes, void, undefined>): ReadableStream<Bytes> {
  return new ReadableStream<Bytes>(
    {
      async pull(controller) {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return();
      },
    },
    { highWaterMark: 0 },
  );
}
