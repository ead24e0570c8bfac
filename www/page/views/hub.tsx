/** Models of the Hugging Face Hub: a list of some that fit, what one of them is, its download, and the stored. */

import { useEffect } from "preact/hooks";
import type { HubModel, Progress, StoredModel } from "../../api/hub";
import type { Foreseen } from "../../api/types";
import {
  close,
  fetchModel,
  hostName,
  look,
  pause,
  refresh,
  remove,
  stage,
  stored,
  token,
  unkept,
  written,
} from "../hub_models";
import { emptied } from "../room";
import { model } from "../state";
import { bytes, duration, parameters, percent } from "../words";
import { Fold } from "./fold";
import { HubList } from "./hub_list";
import { Fit, Pace } from "./picker";
import "./hub.css";

export function Hub() {
  useEffect(() => {
    refresh();
  }, [emptied.value]);
  const now = stage.value;
  return (
    <section class="hub" aria-labelledby="hub-title">
      <h3 id="hub-title" tabIndex={-1}>
        Models from the Hugging Face Hub
      </h3>
      {now.state === "idle" && <Choice />}
      {now.state === "looking" && <Looking id={now.id} />}
      {now.state === "found" && <About {...now} />}
      {now.state === "fetching" && <Fetching {...now} />}
      {unkept.value && (
        <p class="note">
          This browser stores no files for this page: the model is in memory, and has to be fetched again once the tab
          is closed.
        </p>
      )}
      <StoredModels />
    </section>
  );
}

function Choice() {
  const ask = () => written.value.trim() !== "" && look(written.value);
  return (
    <>
      <p>
        When you choose one, or ask about all of them, your browser asks {hostName}. What goes there is the name of the
        model and which parts of its files to send; nothing of your text. Like every site you visit, it sees your
        network address.
      </p>
      <HubList />
      <label for="hub-id">Or any other, by its name there</label>
      <div class="buttons">
        <input
          id="hub-id"
          placeholder="organisation/model"
          autocomplete="off"
          spellcheck={false}
          value={written.value}
          onInput={(event) => {
            written.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            if (event.key !== "Enter") return;
            event.stopPropagation();
            ask();
          }}
        />
        <button type="button" onClick={ask}>
          Look it up
        </button>
      </div>
      <Fold title="For models that need a token">
        <p>
          An access token goes to {hostName} alone, with every question about models. It is stored nowhere: closing or
          reloading the page forgets it.
        </p>
        <label for="hub-token">Your access token</label>
        <input
          id="hub-token"
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={token.value}
          onInput={(event) => {
            token.value = event.currentTarget.value.trim();
          }}
        />
      </Fold>
    </>
  );
}

function Looking({ id }: { id: string }) {
  return (
    <>
      <p role="status">
        Asking {hostName} about {id}…
      </p>
      <div class="buttons">
        <button type="button" class="plain" onClick={pause}>
          Never mind
        </button>
      </div>
    </>
  );
}

function About({ model: found, foreseen }: { model: HubModel; foreseen: Foreseen | null }) {
  const { id, hub, commit, licence } = found;
  const terms = licence ? `Its licence is ${licence}` : "Its page names no licence";
  return (
    <>
      <p>
        <strong>{id}</strong>: {foreseen && `${parameters(foreseen.parameters)} parameters, `}
        {bytes(found.bytes)} to download. {terms}; this is commit {commit.slice(0, 7)} of{" "}
        <a href={`${hub}/${id.split("/").slice(0, 2).join("/")}`} target="_blank" rel="noopener noreferrer">
          its page
        </a>
        .{" "}
        {foreseen ? (
          <>
            <Fit foreseen={foreseen} /> <Pace size={foreseen.parameters} />
          </>
        ) : (
          "What it takes in memory is known once it is here."
        )}
      </p>
      <div class="buttons">
        <button type="button" onClick={() => fetchModel(found)}>
          Download {bytes(found.bytes)}
        </button>
        <button type="button" class="plain" onClick={close}>
          Never mind
        </button>
      </div>
    </>
  );
}

function Fetching({ model: wanted, progress }: { model: HubModel; progress: Progress | null }) {
  return (
    <>
      <p>
        Fetching {wanted.id}: {progress ? <Pacing {...progress} /> : "it starts."}
      </p>
      <progress value={progress?.done ?? 0} max={progress?.total ?? 1} aria-label={`Fetching ${wanted.id}`} />
      <div class="buttons">
        {progress?.kept && (
          <button type="button" onClick={pause}>
            Pause
          </button>
        )}
        <button type="button" class="plain" onClick={() => remove(wanted)}>
          Cancel
        </button>
      </div>
    </>
  );
}

function Pacing({ done, total, bytesPerSecond, etaMs, waitingMs }: Progress) {
  const arrived = `${bytes(done)} of ${bytes(total)} (${percent(total > 0 ? done / total : 1)})`;
  if (waitingMs > 0) return <>{`${arrived}. Nothing arrives; the next try is in ${duration(waitingMs)}.`}</>;
  if (etaMs === null) return <>{arrived}.</>;
  return <>{`${arrived}, ${bytes(bytesPerSecond)} a second, about ${duration(etaMs)} left.`}</>;
}

function StoredModels() {
  if (stored.value.length === 0) return null;
  return (
    <>
      <h4>In this browser's storage</h4>
      <ul class="hub-stored">
        {stored.value.map((each) => (
          <StoredLine key={`${each.id}@${each.commit}`} each={each} />
        ))}
      </ul>
    </>
  );
}

function StoredLine({ each }: { each: StoredModel }) {
  const { id, commit, done } = each;
  const now = model.value;
  const isInUse = now.state === "ready" && !now.builtIn && now.info.name === id;
  const isWhole = done >= each.bytes;
  const busy = stage.value.state === "fetching";
  return (
    <li>
      <span>
        <strong>{id}</strong>, commit {commit.slice(0, 7)}:{" "}
        {isWhole ? bytes(done) : `${bytes(done)} of ${bytes(each.bytes)} so far`}
      </span>
      <span class="buttons">
        <button type="button" class="small" disabled={busy || isInUse} onClick={() => fetchModel(each)}>
          {isInUse ? "In use" : isWhole ? "Use it" : "Go on"}
        </button>
        <button type="button" class="small" disabled={busy || isInUse} onClick={() => remove(each)}>
          Delete
        </button>
      </span>
    </li>
  );
}
