/** Card 1: choose a text, and see what the model will read of it. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { unnamed } from "../columns";
import { samples } from "../samples";
import { text, training } from "../state";
import { accept, take, takeFiles } from "../text";
import { troubles } from "../trouble";
import { offer } from "../unfinished";
import { bytes, counted } from "../words";
import { Banner } from "./banner";
import { CardFrame } from "./card";
import { ColumnPicker } from "./column_picker";
import { FileButton } from "./file_button";
import { Preview } from "./preview";
import { Reading } from "./reading";
import { WayOn } from "./way_on";
import "./text.css";

/** Longer pastes are read at once: a browser takes seconds to lay out a large text box. */
const LONG_PASTE = 20_000;

export const dropping = signal(false);

export function TextCard() {
  return (
    <CardFrame
      card="text"
      number={1}
      title="Your text"
      waiting=""
      done={<DoneLine />}
      always={unnamed.value && <ColumnPicker />}
    >
      <p>
        {troubles.value.samples ? "Bring your own text" : "Try it with one of these, or bring your own"}: letters,
        notes, stories, anything with a voice.
      </p>
      <Banner place="samples" />
      <Samples />
      <div class="own">
        <FileButton
          class={text.value || offer.value || unnamed.value ? "" : "primary"}
          accept=".txt,.md,.markdown,.text,.rst,.log,.srt,.jsonl,.ndjson,.jl,.json,.csv,.tsv,text/plain"
          onFiles={takeFiles}
        >
          Choose a file…
        </FileButton>
        <p class="quiet">Text, JSON Lines or a table (.csv), up to 8 MB. You can also drop it anywhere on this page.</p>
      </div>
      <PasteBox />
      <Reading />
      {text.value && <Chosen />}
    </CardFrame>
  );
}

function DoneLine() {
  if (!text.value) return null;
  const { name, bytes: size, dataset } = text.value;
  const rows = dataset && `, ${counted(dataset.rows, "row")}, ${dataset.heldOut} held out`;
  return (
    <>
      {name}, {bytes(size)}
      {rows}
    </>
  );
}

function Samples() {
  if (samples.value.length === 0) return null;
  return (
    <ul class="samples">
      {samples.value.map((sample) => (
        <li key={sample.id}>
          <button
            type="button"
            class="sample"
            aria-pressed={text.value?.name === sample.title}
            onClick={() => take(sample.title, [{ name: sample.file, content: sample.content }], sample.prompt)}
          >
            <strong>{sample.title}</strong>
            <q>{sample.quote}</q>
          </button>
        </li>
      ))}
    </ul>
  );
}

const pasted = signal("");

function PasteBox() {
  return (
    <div class="paste">
      <label for="paste">Or paste it here</label>
      <textarea
        id="paste"
        rows={3}
        value={pasted.value}
        onInput={(event) => {
          pasted.value = event.currentTarget.value;
        }}
        onPaste={(event) => {
          const long = event.clipboardData?.getData("text/plain") ?? "";
          if (long.length < LONG_PASTE) return;
          event.preventDefault();
          takePasted(long);
        }}
      />
      {pasted.value !== "" && (
        <button type="button" onClick={() => takePasted(pasted.value)}>
          Read the pasted text
        </button>
      )}
    </div>
  );
}

function takePasted(words: string) {
  return take("Pasted text", [{ name: "pasted.txt", content: new Blob([words]) }]);
}

function Chosen() {
  const title = useRef<HTMLHeadingElement>(null);
  const documents = text.value?.documents;
  useEffect(() => title.current?.focus(), [documents]);
  return (
    <div class="chosen">
      <h3 ref={title} tabIndex={-1}>
        {text.value?.dataset ? "What the model will read" : "Your text"}
      </h3>
      <Preview />
      <WayOn />
      {text.value?.dataset && (
        <button type="button" class={unnamed.value ? "" : "primary"} disabled={training.value} onClick={accept}>
          Use this text
        </button>
      )}
    </div>
  );
}

export function DropHint() {
  return dropping.value ? <div class="drop-hint">Drop your text to read it here</div> : null;
}
