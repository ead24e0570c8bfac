/** Card 4: the base beside the tuned model, and the file to take home. */

import { adapterZip, LEAK, python } from "../adapter_zip";
import {
  after,
  askAsMessage,
  asMessage,
  before,
  type Column,
  compare,
  learntChat,
  mayChat,
  newSeed,
  prompt,
  seed,
  strength,
  typed,
} from "../compare";
import { continueFrom, openAdapter } from "../opened";
import { save } from "../save";
import { adapter, downloaded, model, openedFrom, startFrom, training } from "../state";
import { bytes, parameters, percent } from "../words";
import { Asked } from "./asked";
import { CardFrame } from "./card";
import { Doubt } from "./doubtful";
import { FileButton } from "./file_button";
import { Fold } from "./fold";
import { Notices } from "./notices";
import "./keep.css";

export function KeepCard() {
  const waiting = "See the model before and after, side by side, and download your adapter.";
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
      <div class="columns">
        <Written title="Before" quiet="the model as it was" column={before.value} />
        <Written title="After" quiet={`with your adapter at ${percent(strength.value)}`} column={after.value} />
      </div>
      <Strength />
      <Download />
      <div class="buttons">
        <button type="button" onClick={continueFrom}>
          Continue from this adapter
        </button>
        <Open />
      </div>
      <Elsewhere />
    </CardFrame>
  );
}

/** Dropping the file on the page does the same. */
function Open() {
  return (
    <FileButton class="plain" accept=".zip,.json,.safetensors" onFiles={openAdapter}>
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
          Both draw the same random numbers (seed {seed}), so every difference is your adapter's.
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
        <p class="quiet">Your adapter learnt conversations; the prompt is taken as it is, without the chat template.</p>
      )}
    </>
  );
}

function Written({ title, quiet, column }: { title: string; quiet: string; column: Column }) {
  return (
    <section class="column" aria-busy={column.writing} aria-label={title}>
      <h3>
        {title} <span class="quiet">{quiet}</span>
      </h3>
      {column.asked?.asMessage && <Asked message={column.asked.prompt} />}
      <p class="written">
        {!column.asked?.asMessage && <span class="quiet">{column.asked?.prompt}</span>}
        {column.text}
        {column.writing && <span class="caret" aria-hidden="true" />}
      </p>
      {column.mute && <p class="quiet">It ended here, without a word of its own.</p>}
    </section>
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

function Download() {
  const kept = adapter.value;
  if (!kept) return null;
  const origin = openedFrom.value ? `opened from ${openedFrom.value}` : `kept from step ${kept.step}`;
  return (
    <div class="download">
      <button
        type="button"
        class={openedFrom.value || startFrom.value ? "" : "primary"}
        onClick={() => {
          if (model.value.state !== "ready") return;
          save("tabtune-adapter.zip", adapterZip(kept, model.value.info, openedFrom.value !== null));
          downloaded.value = true;
        }}
      >
        Download adapter, {bytes(kept.weights.length)}
      </button>
      <p class="quiet">
        {parameters(kept.parameters)} parameters, {origin}. {LEAK}
      </p>
    </div>
  );
}

const BASE_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];

function Elsewhere() {
  const builtIn = model.value.state === "ready" && model.value.builtIn;
  return (
    <Fold title="Use it elsewhere">
      <p>
        The zip holds the two files that Python's PEFT reads. Put the base model's files (
        {builtIn ? <BaseLinks /> : "yours"}) into a folder <code>base</code>, unpack the zip into <code>adapter</code>,
        install <code>torch transformers peft</code>, and run:
      </p>
      <pre>{python(mayChat.value && learntChat.value)}</pre>
    </Fold>
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
