/** A trained adapter, as data that is independent of any model. */

import { adapterInput } from "./adapter_input";
import { LoraError } from "./errors";
import type { AdapterFiles, AdapterInput } from "./types";
import { zip } from "./zip";

/** `peft` is a zip with the two files that PEFT reads. */
export type AdapterFormat = "peft" | "gguf" | "mlx";

export class LoraAdapter implements AdapterInput {
  /** adapter_config.json */
  readonly config: string;
  /** adapter_model.safetensors */
  readonly weights: Uint8Array<ArrayBuffer>;
  /** The step at which a run kept it; 0 for one that was opened. */
  readonly step: number;
  /** On the held-out rows at that step; null if there is none. */
  readonly loss: number | null;

  constructor({ config, weights, step = 0, loss = null }: AdapterInput & Partial<Pick<AdapterFiles, "step" | "loss">>) {
    this.config = config;
    this.weights = weights;
    this.step = step;
    this.loss = loss;
  }

  /** Reads a zip, or PEFT's or MLX's two files. Whether the adapter fits a model shows when it is used with one. */
  static async from(files: Blob | Iterable<File>): Promise<LoraAdapter> {
    // A zip need not have a name.
    const given = files instanceof Blob ? [new File([files], "adapter.zip")] : [...files];
    return new LoraAdapter(await adapterInput(given, { parameters: Number.POSITIVE_INFINITY }));
  }

  async toBlob({ format = "peft" }: { format?: AdapterFormat } = {}): Promise<Blob> {
    if (format !== "peft") {
      throw new LoraError(
        "not_yet",
        `writing adapters as \`${format}\` is not available here yet`,
        "Take the format `peft`; `tabtune export` writes others.",
      );
    }
    return zip({
      "adapter_config.json": new TextEncoder().encode(this.config),
      "adapter_model.safetensors": this.weights,
    });
  }
}
