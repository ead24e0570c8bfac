/** What every consumer does with the packages: five steps on the built-in model. Returns the losses. */

import { LoraModel } from "tabtune";
import base from "tabtune-base";

const text = "The sea was calm, and the captain wrote a letter to his daughter about the whales. ".repeat(40);

export async function train() {
  const model = await LoraModel.create({ model: base, device: "cpu", workers: 1, seqLen: 32, batch: 1 });
  const data = await model.dataset(text);
  const losses = [];
  for await (const event of model.train(data, { maxSteps: 5 })) if (event.type === "step") losses.push(event.loss);
  model.destroy();
  return losses;
}
