/** The model behind the page. */

import { type Count, fetchThing } from "./fetching";
import type { CheckpointFiles } from "./weights";

/** Fetches the four files of a checkpoint. */
export async function fetchModel(name: string, folder: string, count?: Count): Promise<CheckpointFiles> {
  const file = (path: string) => fetchThing("the model", `${folder}/${path}`, (response) => response.blob(), count);
  const [config, tokenizer, tokenizerConfig, weights] = await Promise.all([
    file("config.json"),
    file("tokenizer.json"),
    file("tokenizer_config.json"),
    file("model.safetensors"),
  ]);
  return { name, config, tokenizer, tokenizerConfig, weights };
}
