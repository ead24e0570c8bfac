/** The zip of a whole model that full fine-tuning left: the files of a checkpoint, and a README. */

import type { BaseFacts } from "../api/kept_store";
import type { CheckpointFiles } from "../api/types";
import { zip } from "../api/zip";
import { ASK, indented, LEAK, stepOf, WRITE } from "./adapter_zip";
import { parameters } from "./words";

export const MODEL_LEAK = LEAK.replace("An adapter", "A model");

/** The lines that use a model. */
export const pythonOfModel = (isChat: boolean) => `from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("model")
tokenizer = AutoTokenizer.from_pretrained("model")

${isChat ? ASK.chat : ASK.text}
${WRITE}`;

export function modelZip(model: CheckpointFiles, base: BaseFacts): Blob {
  const encoder = new TextEncoder();
  const texts = { ...model.companions, "README.md": readme(model, base) };
  const encoded = Object.entries(texts).map(([name, text]) => [name, encoder.encode(text)]);
  return zip({ ...Object.fromEntries(encoded), "model.safetensors": model.weights });
}

function readme(model: CheckpointFiles, base: BaseFacts): string {
  return `# A language model fine-tuned with tabtune

${MODEL_LEAK}

| what | value |
|---|---|
| base model | ${base.name}, ${parameters(base.parameters)} parameters |
| SHA-256 of the base's weights | ${base.sha256} |
| trained | ${parameters(model.parameters)} parameters: every matrix of the layers, in float32 |
| as in the base | embedding, norms, biases and head |
| kept from | ${stepOf(model)} |

## Use it in Python

Unpack the files of this zip into a folder \`model\`. Then

    pip install torch transformers

and

${indented(pythonOfModel(model.isChat && base.chatTemplate))}`;
}
