/** The matrix products of this project's step alone. */

import { fetchJob } from "./job.mjs";

export async function run({ steps }, endStep) {
  const { default: init, Products, Shape } = await import("/products/products.js");
  await init();
  const { batch, seqLen, rank, config } = await fetchJob();
  const { num_hidden_layers, hidden_size, intermediate_size, vocab_size } = config;
  const shape = new Shape(batch * seqLen, num_hidden_layers, hidden_size, intermediate_size, vocab_size, rank);
  const products = await Products.create(shape);
  for (let n = 0; n < steps; n++) {
    await products.run();
    await endStep();
  }
  return { operations: products.operations };
}
