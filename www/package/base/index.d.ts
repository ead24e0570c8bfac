/** Where the built-in model's files are: `LoraModel.create({ model: base })`. */
declare const base: { name: string; config: URL; tokenizer: URL; tokenizerConfig: URL; weights: URL; bytes: number };
export default base;
