/** Card 1: choose a text, and see what the model will read of it. */

import { computed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { aside, bringFiles } from "../bring";
import { unnamed } from "../columns";
import { dropHint } from "../drops";
import { downloadIsNext } from "../kept";
import { picked } from "../pick";
import { type Sample, samples } from "../samples";
import { cards, openedFrom, text, training } from "../state";
import { accept, pasted, reading, take, takePasted, unread } from "../text";
import { troubles } from "../trouble";
import { offer } from "../unfinished";
import { bytes, counted } from "../words";
import { Banner } from "./banner";
import { CardFrame } from "./card";
import { ColumnPicker } from "./column_picker";
import { FileButton } from "./file_button";
import { lookAt } from "./look_at";
import { Preview, Rows } from "./preview";
import { Quoted } from "./quoted";
import { Reading } from "./reading";
import { WayOn } from "./way_on";
import "./text.css";

/** The endings of files that are read as text or records. */
const TEXTS = ".txt,.md,.markdown,.text,.rst,.log,.srt,.jsonl,.ndjson,.jl,.json,.csv,.tsv";

/** Longer pastes are read at once: a browser takes seconds to lay out a large text box. */
const LONG_PASTE = 20_000;

/** Choosing a file is what comes next: there is no text, and nothing of an earlier visit is waiting. */
const isNext = computed(() => {
  const before = text.value || unnamed.value || unread.value;
  return !(before || offer.value || downloadIsNext.value);
});

export function TextCard() {
  return (
    <CardFrame card="text" number={1} title="Your text" waiting="" done={<DoneLine />} always={<Always />}>
      <p>
        {troubles.value.samples ? "Bring your own text" : "Try it with one of these, or bring your own"}: letters,
        notes, stories, anything with a voice.
      </p>
      <Banner place="samples" />
      <Samples />
      <div class="own">
        <FileButton
          class={isNext.value ? "primary" : ""}
          accept={`${TEXTS},.html,.htm,.zip,.safetensors,.gguf,text/plain`}
          onFiles={bringFiles}
        >
          Choose a file…
        </FileButton>
        <p class="quiet">
          Text, JSON Lines or a table (.csv), up to 8 MB. You can also drop it anywhere on this page, or a whole folder.
        </p>
      </div>
      <PasteBox />
      <Reading />
      {text.value && <Chosen />}
    </CardFrame>
  );
}

/** What is shown whether the card is open or not. */
function Always() {
  return (
    <>
      {cards.value.text === "done" && <Reading />}
      {aside.value && (openedFrom.value ?? picked.value) !== null && (
        <p class="note" role="status">
          <Quoted words={aside.value} />
        </p>
      )}
      {unnamed.value && <ColumnPicker />}
    </>
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
            aria-pressed={(reading.value ?? text.value?.name) === sample.title}
            onClick={() => takeSample(sample)}
          >
            <strong>{sample.title}</strong>
            <q>{sample.quote}</q>
          </button>
        </li>
      ))}
    </ul>
  );
}

function takeSample({ title, file, content, prompt }: Sample) {
  return take(title, { name: title, prompt, documents: [{ name: file, content }] });
}

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
        <button
          type="button"
          class={unread.value && !unnamed.value && (text.value || !offer.value) ? "primary" : ""}
          onClick={() => takePasted(pasted.value)}
        >
          Read the pasted text
        </button>
      )}
    </div>
  );
}

function Chosen() {
  const title = useRef<HTMLHeadingElement>(null);
  const documents = text.value?.documents;
  useEffect(() => {
    if (title.current) lookAt(title.current);
  }, [documents]);
  const isOld = reading.value !== null || unread.value;
  const heading = isOld ? "The text from before" : text.value?.dataset ? "What the model will read" : "Your text";
  return (
    <section class={isOld ? "chosen old" : "chosen"} aria-labelledby="chosen-title">
      <h3 id="chosen-title" ref={title} tabIndex={-1}>
        {heading}
      </h3>
      {unread.value && (
        <p class="unread">
          The words in the box above have not been read. Press “Read the pasted text”, or empty the box to use this one.
        </p>
      )}
      <Preview isOld={isOld} />
      <WayOn />
      {text.value?.dataset && (
        <button
          type="button"
          class={unnamed.value || unread.value ? "" : "primary"}
          disabled={training.value || isOld}
          onClick={accept}
        >
          Use this text
        </button>
      )}
      <Rows />
    </section>
  );
}

export function DropHint() {
  return dropHint.value ? <div class="drop-hint">{dropHint.value}</div> : null;
}
