/** The zip a visitor takes home: PEFT's two files under their fixed names, and a README that says how to use them. */

import type { BaseFacts } from "../api/kept_store";
import type { AdapterFiles, KeptFiles } from "../api/types";
import { zip } from "../api/zip";
import { MESSAGE } from "./settings";
import { loss, parameters } from "./words";

export const LEAK =
  "An adapter can contain phrases of the text it learnt from: share it as you would share the text itself.";

export const ASK = {
  text: `prompt = tokenizer("Once upon a time", return_tensors="pt")`,
  chat: `messages = [{"role": "user", "content": "${MESSAGE}"}]
prompt = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)`,
};

export const WRITE = `words = model.generate(**prompt, max_new_tokens=80, do_sample=True, temperature=0.7, top_k=40)
print(tokenizer.decode(words[0], skip_special_tokens=True))
`;

/** The lines that use an adapter: one of conversations is asked with a message, if the model has a template for it. */
export const python = (isChat: boolean) => `from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("base")
tokenizer = AutoTokenizer.from_pretrained("base")
model = PeftModel.from_pretrained(base, "adapter")

${isChat ? ASK.chat : ASK.text}
${WRITE}`;

export function adapterZip(adapter: AdapterFiles, info: BaseFacts, opened: boolean): Blob {
  const encoder = new TextEncoder();
  return zip({
    "adapter_config.json": encoder.encode(adapter.config),
    "adapter_model.safetensors": adapter.weights,
    "README.md": encoder.encode(readme(adapter, info, opened)),
  });
}

export function stepOf({ step, loss: held }: KeptFiles): string {
  return `step ${step}, ${held === null ? "no held-out loss" : `held-out loss ${loss(held)} nats per token`}`;
}

export const indented = (code: string): string => code.replace(/^(?=.)/gm, "    ");

function readme(adapter: AdapterFiles, info: BaseFacts, opened: boolean): string {
  // The files of an adapter do not say at which step it was kept.
  const origin = opened ? "an adapter that was opened from its files" : stepOf(adapter);
  return `# A LoRA adapter made with tabtune

${LEAK}

| what | value |
|---|---|
| base model | ${info.name}, ${parameters(info.parameters)} parameters |
| SHA-256 of the base's weights | ${info.sha256} |
| adapter | ${parameters(adapter.parameters)} parameters, rank ${adapter.rank}, alpha ${adapter.alpha} |
| adapted layers | ${adapter.targets.join(", ")} |
| kept from | ${origin} |

## Use it in Python

Put the base model's config.json, tokenizer.json, tokenizer_config.json and model.safetensors, or its parts with their
index (the page links the files of the built-in model), and its chat_template.jinja if it has one, into a folder
\`base\`, and the files of this zip into a folder \`adapter\`. Then

    pip install torch transformers peft

and

${indented(python(adapter.isChat && info.chatTemplate))}`;
}
