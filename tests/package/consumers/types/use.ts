/** Uses every call of the package, for the compiler. */

import { type DownloadProgress, type Event, LoraAdapter, LoraError, LoraModel } from "tabtune";
import base from "tabtune-base";

export async function use(file: File, signal: AbortSignal): Promise<Blob> {
  const options = { model: base, rank: 8, seqLen: 256, batch: 4 };
  const { state } = await LoraModel.availability(options);
  if (state !== "available") throw new Error(state);
  await using model = await LoraModel.create({
    ...options,
    signal,
    monitor: (progress) =>
      progress.addEventListener("downloadprogress", (event) => console.log((event as DownloadProgress).loaded)),
  });
  const data = await model.dataset(file, { holdout: 0.05 });
  const run = model.train(data, { maxSteps: 300, signal, sample: { prompt: "Dear", every: 25 } });
  const seen: Event[] = [];
  for await (const event of run) {
    seen.push(event);
    if (event.type === "step" && event.loss < 1) run.stop();
  }
  const adapter: LoraAdapter = await LoraAdapter.from(await (await run.adapter).toBlob({ format: "peft" }));
  for await (const piece of model.generate("Dear", { adapter, strength: 1, seed: 7 })) piece.trim();
  const { text } = await model.chat([{ role: "user", content: "Hello" }], { adapter }).result;
  const { loss } = await model.evaluate(data, { adapter });
  if (loss === null) throw new LoraError("none", text, "hint");
  const full = model.train(data, { method: "full", maxSteps: 2 });
  const checkpoint = await model.resume(data, await full.state(), { signal }).checkpoint;
  await model.evaluate(data, { checkpoint });
  await create(checkpoint.files["model.safetensors"]);
  const merged = await model.merge({ adapter, strength: 0.5, format: "gguf", type: "q8_0", signal });
  for (const { name, bytes, stream } of merged.files) console.log(name, bytes, stream(), merged.warnings);
  // @ts-expect-error: there is no such option.
  model.train(data, { learningRate: 1 });
  return adapter.toBlob();
}

function create(weights: Uint8Array<ArrayBuffer>): Promise<LoraModel> {
  return LoraModel.create({ model: { files: [new File([weights], "model.safetensors")] } });
}
