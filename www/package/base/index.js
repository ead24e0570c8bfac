/** Where the built-in model's files are. */

export default {
  name: "Built-in story model",
  config: new URL("./config.json", import.meta.url),
  tokenizer: new URL("./tokenizer.json", import.meta.url),
  tokenizerConfig: new URL("./tokenizer_config.json", import.meta.url),
  weights: new URL("./model.safetensors", import.meta.url),
  bytes: 11_074_138,
};
