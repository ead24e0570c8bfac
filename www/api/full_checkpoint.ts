/** A whole model that full fine-tuning left, as data that is independent of the one that was trained. */

import type { CheckpointFiles } from "./types";
import { zip } from "./zip";

export const WEIGHTS = "model.safetensors";

export class FullCheckpoint {
  /** Each file of a Hugging Face checkpoint by its name: config.json, tokenizer.json, model.safetensors and others. */
  readonly files: Record<string, Uint8Array<ArrayBuffer>> & { [WEIGHTS]: Uint8Array<ArrayBuffer> };
  /** The step at which the run kept it. */
  readonly step: number;
  /** On the held-out rows at that step; null if there is none. */
  readonly loss: number | null;

  constructor({ weights, companions, step, loss }: CheckpointFiles) {
    const encoder = new TextEncoder();
    const texts = Object.entries(companions).map(([name, text]) => [name, encoder.encode(text)]);
    this.files = { ...Object.fromEntries(texts), [WEIGHTS]: weights };
    this.step = step;
    this.loss = loss;
  }

  /** A zip of the files: unpacked, they are a folder that transformers and `create` read. */
  async toBlob(): Promise<Blob> {
    return zip(this.files);
  }
}
