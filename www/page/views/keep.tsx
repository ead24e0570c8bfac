/** Card 4: the base beside the tuned model, and the file to take home. */

import { LEAK, python } from "../adapter_zip";
import {
  askAsMessage,
  asMessage,
  compare,
  learntChat,
  mayChat,
  newSeed,
  prompt,
  seed,
  strength,
  typed,
} from "../compare";
import { downloadAdapter, downloadIsNext, isStored, keepOpened, shownBase } from "../kept";
import { MODEL_LEAK, pythonOfModel } from "../model_zip";
import { continueFrom, openAdapter } from "../opened";
import { adapter, downloaded, model, openedFrom, training } from "../state";
import { bytes, parameters, percent, thing } from "../words";
import { CardFrame } from "./card";
import { Doubt } from "./doubtful";
import { FileButton } from "./file_button";
import { Fold } from "./fold";
import { later } from "./later";
import { Notices } from "./notices";
import { SideBySide } from "./side_by_side";
import "./keep.css";

export function KeepCard() {
  const waiting =
    model.value.state === "absent"
      ? "This needs the model, too. An adapter that you have already works wherever this page does, and in Python."
      : "See the model before and after, side by side, and download your adapter.";
  const whole = adapter.value?.method === "full";
  const mayOpen = model.value.state === "ready" && !training.value;
  return (
    <CardFrame
      card="keep"
      number={4}
      title="Try it and keep it"
      waiting={waiting}
      done=""
      always={
        <>
          <Doubt />
          {mayOpen && !adapter.value && <Open />}
        </>
      }
    >
      {openedFrom.value && <Notices notices={adapter.value?.warnings ?? []} />}
      <Prompt />
      <SideBySide />
      {whole ? <NoStrength /> : <Strength />}
      <Download />
      {!downloaded.value && !isStored.value && (
        <p class="note">It is only in this tab: download it before you close the tab.</p>
      )}
      <div class="buttons">
        {!whole && (
          <button type="button" onClick={continueFrom}>
            Continue from this adapter
          </button>
        )}
        {openedFrom.value && !isStored.value && (
          <button type="button" onClick={keepOpened}>
            Keep it in My adapters
          </button>
        )}
        <Open />
      </div>
      <Elsewhere />
    </CardFrame>
  );
}

/** Dropping the file on the page does the same. */
function Open() {
  return (
    <FileButton class="plain" accept=".zip,.json,.safetensors,.gguf" onFiles={openAdapter}>
      Open a saved adapter…
    </FileButton>
  );
}

function Prompt() {
  return (
    <div class="prompt">
      <label for="prompt">{asMessage.value ? "Your message" : "How should it begin?"}</label>
      <textarea
        id="prompt"
        rows={2}
        value={prompt.value}
        onInput={(event) => {
          typed.value = event.currentTarget.value;
        }}
      />
      {mayChat.value && <AsMessage />}
      <div class="buttons">
        <button type="button" onClick={() => compare()}>
          Write both
        </button>
        <button type="button" onClick={newSeed}>
          New seed
        </button>
        <span class="quiet">
          Both draw the same random numbers (seed {seed}), so every difference is your {thing(adapter.value)}'s.
        </span>
      </div>
    </div>
  );
}

function AsMessage() {
  return (
    <>
      <label class="as-message">
        <input
          type="checkbox"
          checked={asMessage.value}
          onChange={(event) => askAsMessage(event.currentTarget.checked)}
        />{" "}
        As a chat message
      </label>
      {learntChat.value && !asMessage.value && (
        <p class="quiet">
          Your {thing(adapter.value)} learnt conversations; the prompt is taken as it is, without the chat template.
        </p>
      )}
    </>
  );
}

function Strength() {
  return (
    <div class="strength">
      <label for="strength">Strength of your adapter: {percent(strength.value)}</label>
      <input
        id="strength"
        type="range"
        min="0"
        max="1.5"
        step="0.05"
        list="strength-marks"
        value={strength.value}
        aria-valuetext={percent(strength.value)}
        onInput={(event) => {
          strength.value = event.currentTarget.valueAsNumber;
        }}
        onChange={() => compare("tuned")}
      />
      <datalist id="strength-marks">
        <option value="1" />
      </datalist>
      <div class="marks quiet" aria-hidden="true">
        <span>0 %</span>
        <span>100 %</span>
        <span>150 %</span>
      </div>
    </div>
  );
}

function NoStrength() {
  return (
    <p class="quiet">
      The layers themselves have changed, so there is no strength to set: only an adapter has one. To train the model
      further, unpack the zip and load its folder in card 2.
    </p>
  );
}

function Download() {
  const kept = adapter.value;
  if (!kept) return null;
  const origin = openedFrom.value ? `opened from ${openedFrom.value}` : `kept from step ${kept.step}`;
  return (
    <div class="download">
      <button
        type="button"
        class={downloadIsNext.value ? "primary" : ""}
        disabled={!shownBase.value}
        onClick={() => downloadAdapter()}
      >
        Download {thing(kept)}, {bytes(kept.weights.length)}
      </button>
      <p class="quiet">
        {parameters(kept.parameters)} parameters{kept.method === "full" && " learnt"}, {origin}.{" "}
        {isStored.value && "This browser keeps it in My adapters until you delete it, even if you close the tab. "}
        {kept.method === "full" ? MODEL_LEAK : LEAK}
      </p>
    </div>
  );
}

const BASE_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];

function Elsewhere() {
  const chat = mayChat.value && learntChat.value;
  if (adapter.value?.method === "full")
    return (
      <Fold title="Use it elsewhere">
        <p>
          The zip holds a whole model as Python's transformers reads it. Unpack it into a folder <code>model</code>,
          install <code>torch transformers</code>, and run:
        </p>
        <pre>{pythonOfModel(chat)}</pre>
      </Fold>
    );
  const builtIn = model.value.state === "ready" && model.value.builtIn;
  return (
    <Fold title="Use it elsewhere">
      <p>
        The zip holds the two files that Python's PEFT reads. Put the base model's files (
        {builtIn ? <BaseLinks /> : "yours"}) into a folder <code>base</code>, unpack the zip into <code>adapter</code>,
        install <code>torch transformers peft</code>, and run:
      </p>
      <pre>{python(chat)}</pre>
      <OtherForms />
    </Fold>
  );
}

const merged = later("keep", "the part of the page that merges", async () => (await import("./merged")).Merged);

/** The model that is loaded writes them, so there must be one. */
function OtherForms() {
  const Merged = merged.view.value;
  const disabled = model.value.state !== "ready" || training.value;
  return (
    <>
      <p>
        llama.cpp and MLX read files of their own. llama.cpp takes the adapter beside a GGUF file of the same base:{" "}
        <code>llama-cli --model base.gguf --lora tabtune-adapter.gguf</code>. For MLX, unpack the zip into{" "}
        <code>adapter</code>: <code>mlx_lm.generate --model base --adapter-path adapter</code>. This page opens both
        again.
      </p>
      <div class="buttons">
        <button type="button" disabled={disabled} onClick={() => downloadAdapter("gguf")}>
          Download for llama.cpp
        </button>
        <button type="button" disabled={disabled} onClick={() => downloadAdapter("mlx")}>
          Download for MLX
        </button>
        {!Merged && (
          <button type="button" disabled={disabled} onClick={merged.open}>
            Merge it into the model…
          </button>
        )}
      </div>
      {Merged && <Merged />}
    </>
  );
}

function BaseLinks() {
  return (
    <>
      {BASE_FILES.map((file, index) => (
        <>
          {index > 0 && ", "}
          <a key={file} href={`./base/${file}`} download>
            {file}
          </a>
        </>
      ))}
    </>
  );
}
