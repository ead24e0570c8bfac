/** Asks whether to open an adapter that says it was made for another model. */

import { useEffect, useRef } from "preact/hooks";
import type { NotedBase } from "../../api/types";
import { answer, type Doubtful, doubtful } from "../opened";
import { model } from "../state";
import { Quoted } from "./quoted";
import "./doubtful.css";

export function Doubt() {
  const asked = doubtful.value;
  return asked && <Question key={asked.input} {...asked} />;
}

/** The answer that changes nothing has the focus, and is what Escape means. */
function Question({ name, base }: Doubtful) {
  const leave = useRef<HTMLButtonElement>(null);
  useEffect(() => leave.current?.focus(), []);
  return (
    <section
      class="doubtful"
      aria-labelledby="doubtful-title"
      aria-describedby="doubtful-reason"
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        answer(false);
      }}
    >
      <p id="doubtful-title">
        <strong>
          Is <Quoted words={`\`${name}\``} /> for this model?
        </strong>
      </p>
      <p id="doubtful-reason">
        <Reason {...base} /> Nothing has been opened yet.
      </p>
      <div class="buttons">
        <button type="button" onClick={() => answer(true)}>
          Open it anyway
        </button>
        <button type="button" ref={leave} onClick={() => answer(false)}>
          Leave it
        </button>
      </div>
    </section>
  );
}

/** What the files note, and how far it can be trusted. That the shapes fit is known. */
function Reason({ name, sameName, sameWeights }: NotedBase) {
  const loaded = model.value.state === "ready" ? model.value.info.name : "another model";
  const made = `It says that it was made for \`${name}\`, and this page has \`${loaded}\` loaded.`;
  if (sameWeights === null) {
    return (
      <>
        <Quoted words={made} /> It fits in shape, but unless both are the same model under two names, it will write
        badly.
      </>
    );
  }
  if (sameWeights) {
    return (
      <>
        <Quoted words={made} /> But it also notes a fingerprint (SHA-256) of the weights it was made for, and that is
        the fingerprint of those that are loaded: most likely this is the same model under another name.
      </>
    );
  }
  return (
    <>
      <Quoted words={sameName ? `It was made for a model that is called \`${loaded}\` too.` : made} /> Its weights are
      others, by their fingerprint (SHA-256): it fits in shape, but will write badly unless the two models are much
      alike.
    </>
  );
}
