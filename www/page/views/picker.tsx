/** "Use another model": a checkpoint from the visitor's disk. Its size and fit are shown before it is loaded. */

import { bytesOnDisk } from "../../api/weights";
import { load, type Picked, pick, picked } from "../pick";
import { adapter, downloaded, model } from "../state";
import { bytes, parameters, percent, thin } from "../words";
import { FileButton } from "./file_button";

export function Picker() {
  const now = picked.value;
  if (now?.loading) return <Loading name={now.files.name} {...now.loading} />;
  return (
    <>
      <p>
        Any Llama, Mistral, Qwen2, Qwen3, SmolLM, GPT-2, Gemma 3 or Phi-3 model that is on your disk in Hugging Face's
        format: a folder with config.json, tokenizer.json and model.safetensors, or its parts with their index. GGUF
        files of Llama 3, Qwen2, Qwen3 and SmolLM models can be used too. The model is read piece by piece and never
        leaves this machine.
      </p>
      <div class="buttons">
        <FileButton folder onFiles={pick}>
          Choose a folder…
        </FileButton>
        <FileButton accept=".gguf,.json,.safetensors,.jinja" onFiles={pick}>
          Choose the files…
        </FileButton>
      </div>
      {now && <Chosen {...now} />}
    </>
  );
}

function Chosen({ files, parameters: size }: Picked) {
  const { name } = files;
  return (
    <>
      <p>
        <strong>{name}</strong>: {parameters(size)} parameters, {bytes(bytesOnDisk(files))} on the disk.{" "}
        <Fit size={size} />
      </p>
      {adapter.value && !downloaded.value && (
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
            picked.value = null;
          }}
        >
          Never mind
        </button>
      </div>
    </>
  );
}

/** The most bytes that a parameter takes. */
const WIDEST = 4;
/** What a program in a tab can address. */
const TAB = 4e9;

function Fit({ size }: { size: number }) {
  if (model.value.state !== "ready") return null;
  const need = size * WIDEST;
  const isCard = model.value.info.device.kind === "gpu";
  return (
    <>
      Its weights need up to {bytes(need)} of {isCard ? "graphics memory" : "memory"};{" "}
      {isCard ? fitOnCard(need) : fitInTab(need)}. <Pace size={size} />
    </>
  );
}

/** No browser says how much memory of a graphics card is free, so this goes by what cards usually have. */
function fitOnCard(need: number): string {
  if (need < 5e8) return "that fits almost every graphics card";
  if (need < 2e9) return "that fits most graphics cards, with room for training";
  return `that needs a graphics card with about ${thin((2 * need) / 1e9)} GB`;
}

function fitInTab(need: number): string {
  if (need < TAB / 4) return "a tab has room for that, and for training";
  return need < TAB ? "a tab may be too small for that and for training" : "no tab has room for that";
}

/** The time of a step is roughly proportional to the number of parameters. */
function Pace({ size }: { size: number }) {
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
