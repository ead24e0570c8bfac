/** A text as rows of tokens, held by the worker of the model that made it. */

import type { Session } from "./session";
import type { Columns, Dataset, Settings, TextDocument } from "./types";

/** A text, or files; several are read as one. */
export type Source = string | Blob | Iterable<Blob>;

export class LoraDataset {
  /** Counts, warnings, and the first rows as the model reads them. */
  readonly summary: Dataset;
  /** Those that the rows were made with. */
  readonly settings: Pick<Settings, "seqLen" | "holdout" | "holdoutAtMost">;
  #session: Session;

  static async make(
    session: Session,
    source: Source,
    settings: Settings,
    name = "text.txt",
    columns?: Columns,
  ): Promise<LoraDataset> {
    const blobs = typeof source === "string" ? [new Blob([source])] : source instanceof Blob ? [source] : [...source];
    const documents = blobs.map(
      (content): TextDocument => ({
        name: "name" in content ? String(content.name) : name,
        content,
        ...(columns ? { columns } : {}),
      }),
    );
    return new LoraDataset(session, await session.dataset(documents, settings), settings);
  }

  private constructor(session: Session, summary: Dataset, { seqLen, holdout, holdoutAtMost }: Settings) {
    this.#session = session;
    this.summary = summary;
    this.settings = { seqLen, holdout, holdoutAtMost };
  }

  /** Frees the rows. A run that uses them is not disturbed. */
  async release(): Promise<void> {
    await this.#session.release(this.summary);
  }
}
