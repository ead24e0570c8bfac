/** My adapters, and what else this browser keeps: opened with the button at the top of the page. */

import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { KeptFacts } from "../../api/kept_store";
import { downloadKept, fits, remove, rename, shelf, trainKept, tryKept } from "../kept";
import { changingModel } from "../pick";
import { model, training } from "../state";
import { bytes, count, loss, moment } from "../words";
import { Banner } from "./banner";
import { lookAt } from "./look_at";
import { Room } from "./room";
import { Sure } from "./sure";
import "./kept.css";

const opened = signal(false);
const BUTTON = "my-adapters";

export function KeptButton() {
  const n = shelf.value.length;
  return (
    <button
      type="button"
      id={BUTTON}
      class="small"
      aria-expanded={opened.value}
      onClick={() => {
        opened.value = !opened.value;
      }}
    >
      My adapters{n > 0 && ` (${count(n)})`}
    </button>
  );
}

function close() {
  opened.value = false;
  document.getElementById(BUTTON)?.focus();
}

export function Kept() {
  return opened.value && <Shelf />;
}

function Shelf() {
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (title.current) lookAt(title.current);
  }, []);
  return (
    <section
      class="offer kept"
      aria-labelledby="kept-title"
      onKeyDown={(event) => {
        if (event.key === "Escape" && !event.defaultPrevented) close();
      }}
    >
      <div class="kept-head">
        <h2 id="kept-title" ref={title} tabIndex={-1}>
          My adapters
        </h2>
        <button type="button" onClick={close}>
          Close
        </button>
      </div>
      <Banner place="kept" />
      {shelf.value.length === 0 && (
        <p>None yet. When a run is over, this browser keeps here what it leaves, until you delete it.</p>
      )}
      <ul>
        {shelf.value.map((facts) => (
          <Entry key={facts.id} facts={facts} />
        ))}
      </ul>
      <Room />
    </section>
  );
}

function Entry({ facts }: { facts: KeptFacts }) {
  const [asked, ask] = useState<"rename" | "delete" | null>(null);
  const { name, weightBytes } = facts;
  const usable = fits(facts) && !training.value && !changingModel.value;
  const isModel = facts.adapter.method === "full";
  const done = () => {
    document.getElementById("kept-title")?.focus();
    ask(null);
  };
  return (
    <li>
      <p>
        <strong>
          <bdi>{name}</bdi>
        </strong>{" "}
        <span class="quiet">
          {isModel && "a whole model, "}
          {bytes(weightBytes)}
        </span>
      </p>
      <p class="quiet">
        <About {...facts} />
      </p>
      {asked === "rename" && <Rename facts={facts} done={done} />}
      {asked === "delete" && (
        <Sure question={`Delete “${name}”? It cannot be brought back.`} act={() => remove(facts)} done={done} />
      )}
      {asked === null && (
        <div class="buttons">
          <button type="button" class="small" disabled={!usable} onClick={() => tryKept(facts)}>
            Try it
          </button>
          {!isModel && (
            <button type="button" class="small" disabled={!usable} onClick={() => trainKept(facts)}>
              Train on it
            </button>
          )}
          <button type="button" class="small" onClick={() => downloadKept(facts)}>
            Download
          </button>
          <button
            type="button"
            class="small"
            disabled={model.value.state !== "ready" || training.value}
            onClick={() => ask("rename")}
          >
            Rename
          </button>
          <button type="button" class="small" onClick={() => ask("delete")}>
            Delete
          </button>
        </div>
      )}
    </li>
  );
}

function About(facts: KeptFacts) {
  const { text, textBytes, opened, model: base, keptAt, adapter } = facts;
  const size = textBytes === undefined ? "" : ` (${bytes(textBytes)})`;
  const held = adapter.loss === null ? "no held-out loss" : `held-out loss ${loss(adapter.loss)}`;
  return (
    <>
      {opened ? "Opened from" : "Learnt from"} <bdi>{text}</bdi>
      {size}, {moment(keptAt)}
      {!opened && `; step ${count(adapter.step)}, ${held}`}. Its model: <bdi>{base.name}</bdi>, hash{" "}
      <code title={base.sha256}>{base.sha256.slice(0, 8)}…</code>
      {model.value.state === "ready" && !fits(facts) && (
        <strong> To try it or train on it, load that model in the model card.</strong>
      )}
    </>
  );
}

function Rename({ facts, done }: { facts: KeptFacts; done(): void }) {
  const box = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => box.current?.select(), []);
  return (
    <form
      class="buttons"
      onSubmit={(event) => {
        event.preventDefault();
        const name = box.current?.value.trim();
        if (name) rename(facts, name);
        done();
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        done();
      }}
    >
      <input ref={box} aria-label="New name" maxLength={80} required defaultValue={facts.name} />
      <button type="submit" class="small">
        Save
      </button>
      <button type="button" class="small" onClick={done}>
        Cancel
      </button>
    </form>
  );
}
