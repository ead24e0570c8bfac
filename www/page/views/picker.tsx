/** "Use another model": from the visitor's disk or from the Hub. Its size and fit are shown before it is loaded. */

import type { Foreseen } from "../../api/types";
import { bytesOnDisk } from "../../api/weights";
import { isStored } from "../kept";
import { load, type Picked, pick, picked } from "../pick";
import { adapter, downloaded, model } from "../state";
import { bits, bytes, counted, parameters, percent, thin } from "../words";
import { FileButton } from "./file_button";
import { later } from "./later";

const hub = later("model", "the part of the page for the Hub", async () => (await import("./hub")).Hub);

export function Picker() {
  const Hub = hub.view.value;
  const now = picked.value;
  if (now?.loading) return <Loading name={now.files.name} {...now.loading} />;
  return (
    <>
      <p>
        Any Llama, Mistral, Qwen2, Qwen3, SmolLM, GPT-2, Gemma 3 or Phi-3 model that is on your disk in Hugging Face's
        format: a folder with config.json, tokenizer.json and model.safetensors, or its parts with their index. GGUF
        files of these models can be used too. The model is read piece by piece and never leaves this machine.
      </p>
      <div class="buttons">
        <FileButton folder onFiles={pick}>
          Choose a folder…
        </FileButton>
        <FileButton accept=".gguf,.json,.safetensors,.jinja" onFiles={pick}>
          Choose the files…
        </FileButton>
        {!Hub && (
          <button type="button" onClick={hub.open}>
            Fetch one from the Hugging Face Hub…
          </button>
        )}
      </div>
      {Hub && <Hub />}
      {now && <Chosen {...now} />}
    </>
  );
}

function Chosen({ files, foreseen }: Picked) {
  const { name } = files;
  const size = foreseen.parameters;
  return (
    <>
      <p>
        <strong>{name}</strong>: {parameters(size)} parameters, {bytes(bytesOnDisk(files))} on the disk.{" "}
        <Fit foreseen={foreseen} /> <Pace size={size} />
      </p>
      {adapter.value && !downloaded.value && !isStored.value && (
        <p class="note">
          Your adapter works only with the model it was trained on, and is dropped when you load another: download it
          first.
        </p>
      )}
      <div class="buttons">
        <button type="button" onClick={load}>
          Load {name}
        </button>
        <button
          type="button"
          class="plain"
          onClick={() => {
            document.getElementById("model-title")?.focus();
            picked.value = null;
          }}
        >
          Never mind
        </button>
      </div>
    </>
  );
}

export function Fit({ foreseen }: { foreseen: Foreseen }) {
  const { batch, seqLen } = foreseen;
  return (
    <>
      Training on {counted(batch, "row")} of {seqLen} tokens at a time takes {memoryOf(foreseen)}: that fits here.
    </>
  );
}

/** "about 1.2 GB of graphics memory". */
export function memoryOf({ weights, memory }: Foreseen): string {
  const isCard = model.value.state === "ready" && model.value.info.device.kind === "gpu";
  const stored = weights === "auto" ? "" : `, with the weights in ${bits(weights)} bits`;
  return `about ${bytes(memory)} of ${isCard ? "graphics memory" : "memory"}${stored}`;
}

/** The time of a step is roughly proportional to the number of parameters. */
export function Pace({ size }: { size: number }) {
  if (model.value.state !== "ready") return null;
  const { info, builtIn } = model.value;
  const times = size / info.parameters;
  if (times < 2) return null;
  return (
    <>
      A step will take about {thin(times)} times as long as with {builtIn ? "the built-in model" : info.name}
      {info.device.software && ", and there is no graphics card to help"}.
    </>
  );
}

function Loading({ name, done, total }: { name: string; done: number; total: number }) {
  return (
    <>
      <p>
        Loading {name}: {bytes(done)} of {bytes(total)} ({percent(total > 0 ? done / total : 0)}).
      </p>
      <progress value={done} max={total} aria-label={`Loading ${name}`} />
    </>
  );
}
