/** A text as rows of tokens, held by the worker of the model that made it. */

import { refused } from "./rules";
import type { Session } from "./session";
import type { Columns, Dataset, Settings, TextDocument } from "./types";

/** A text, or files; several are read as one. */
export type Source = string | Blob | Iterable<Blob>;

export class LoraDataset {
  /** Counts, warnings, and the first rows as the model reads them. */
  readonly summary: Dataset;
  /** Those that the rows were made with. */
  readonly settings: Pick<Settings, "seqLen" | "holdout" | "holdoutAtMost" | "packing">;
  #session: Session;

  static async make(
    session: Session,
    source: Source,
    settings: Settings,
    name = "text.txt",
    columns?: Columns,
  ): Promise<LoraDataset> {
    const blobs = blobsOf(source);
    if (blobs.length === 0 || !blobs.every((blob) => blob instanceof Blob))
      throw refused("source", source, "a text, a file or several files");
    const documents = blobs.map(
      (content): TextDocument => ({
        name: "name" in content ? String(content.name) : name,
        content,
        ...(columns ? { columns } : {}),
      }),
    );
    return new LoraDataset(session, await session.dataset(documents, settings), settings);
  }

  private constructor(session: Session, summary: Dataset, { seqLen, holdout, holdoutAtMost, packing }: Settings) {
    this.#session = session;
    this.summary = summary;
    this.settings = { seqLen, holdout, holdoutAtMost, packing };
  }

  /** Frees the rows. A run that uses them is not disturbed. */
  async release(): Promise<void> {
    await this.#session.release(this.summary);
  }
}

function blobsOf(source: Source): Blob[] {
  if (typeof source === "string") return [new Blob([source])];
  if (source instanceof Blob) return [source];
  return typeof source?.[Symbol.iterator] === "function" ? [...source] : [];
}
