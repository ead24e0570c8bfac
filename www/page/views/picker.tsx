/** "Use another model": a checkpoint from the visitor's disk. Its size and fit are shown before it is loaded. */

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
        Any model of the Llama type that is on your disk in Hugging Face's format: a folder with config.json,
        tokenizer.json and model.safetensors. It is read piece by piece and never leaves this machine.
      </p>
      <div class="buttons">
        <FileButton folder onFiles={pick}>
          Choose a folder…
        </FileButton>
        <FileButton accept=".json,.safetensors,.jinja" onFiles={pick}>
          Choose the files…
        </FileButton>
      </div>
      {now && <Chosen {...now} />}
    </>
  );
}

function Chosen({ files, parameters: size }: Picked) {
  return (
    <>
      <p>
        <strong>{files.name}</strong>: {parameters(size)} parameters, {bytes(files.weights.size)} on the disk.{" "}
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
          Load {files.name}
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

/** The most bytes that a parameter takes on the graphics card. */
const WIDEST = 4;

/** No browser says how much memory of a graphics card is free, so this goes by what cards usually have. */
function Fit({ size }: { size: number }) {
  const need = size * WIDEST;
  const fit =
    need < 5e8
      ? "that fits almost every graphics card"
      : need < 2e9
        ? "that fits most graphics cards, with room for training"
        : `that needs a graphics card with about ${thin((2 * need) / 1e9)} GB`;
  return (
    <>
      Its weights need up to {bytes(need)} of graphics memory; {fit}. <Pace size={size} />
    </>
  );
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
      {info.device.software && ", and this browser works in software, which is slow already"}.
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
