/** A trained adapter, as data that is independent of any model. */

import { adapterInput } from "./adapter_input";
import { LoraError } from "./errors";
import type { BlobOptions } from "./options";
import { checked } from "./rules";
import type { AdapterFiles, AdapterFormat, AdapterInput } from "./types";
import { zip } from "./zip";

/** Files are named by what reads them: what PEFT and MLX read goes into a zip, what llama.cpp reads is one file. */
export type WriteFiles = (
  adapter: AdapterInput,
  format: AdapterFormat,
) => Promise<Record<string, Uint8Array<ArrayBuffer>>>;

export class LoraAdapter implements AdapterInput {
  /** adapter_config.json; empty for an adapter that was opened from a GGUF file */
  readonly config: string;
  /** adapter_model.safetensors, or what was opened in its place */
  readonly weights: Uint8Array<ArrayBuffer>;
  /** The step at which a run kept it; 0 for one that was opened. */
  readonly step: number;
  /** On the held-out rows at that step; null if there is none. */
  readonly loss: number | null;
  /** The engine that trained the adapter. */
  #write: WriteFiles | undefined;

  constructor(
    { config, weights, step = 0, loss = null }: AdapterInput & Partial<Pick<AdapterFiles, "step" | "loss">>,
    write?: WriteFiles,
  ) {
    this.#write = write;
    this.config = config;
    this.weights = weights;
    this.step = step;
    this.loss = loss;
  }

  /** Reads a zip, PEFT's or MLX's two files, or GGUF. Whether it fits a model shows when it is used with one. */
  static async from(files: Blob | Iterable<File>): Promise<LoraAdapter> {
    const given = files instanceof Blob ? [await named(files)] : [...files];
    return new LoraAdapter(await adapterInput(given, { parameters: Number.POSITIVE_INFINITY }));
  }

  /**
   * `peft` and `mlx` are zips with two files, `gguf` is the file of llama.cpp. Whatever is not PEFT's is written by a
   * model: by default, the one that trained the adapter.
   */
  async toBlob(options: BlobOptions = {}): Promise<Blob> {
    const { format = "peft", model } = checked("toBlob", options);
    const { config, weights } = this;
    if (format === "peft" && isPeft(config)) {
      return zip({ "adapter_config.json": new TextEncoder().encode(config), "adapter_model.safetensors": weights });
    }
    const write: WriteFiles | undefined = model?.exportAdapter.bind(model) ?? this.#write;
    if (!write) {
      throw new LoraError(
        "no_model",
        `an adapter that was opened cannot be written as \`${format}\` without a model`,
        "Give the model that it fits as `model`, or use `tabtune export`.",
      );
    }
    const files = await write({ config, weights }, format);
    const [file] = Object.values(files);
    return format === "gguf" && file ? new Blob([file]) : zip(files);
  }
}

/** MLX's files have a configuration, too. */
function isPeft(config: string): boolean {
  return config.includes('"peft_type"');
}

/** A blob need not have a name: what it is shows at its beginning. */
async function named(file: Blob): Promise<File> {
  const isGguf = (await file.slice(0, 4).text()) === "GGUF";
  return new File([file], isGguf ? "adapter.gguf" : "adapter.zip");
}
