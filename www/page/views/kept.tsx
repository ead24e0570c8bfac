/** The offer to download or try an adapter that an earlier visit left in the browser's storage. */

import { downloadKept, forget, keptOffer, tryKept, undownloaded } from "../kept";
import { otherTabTrains } from "../lock";
import { changingModel } from "../pick";
import { model } from "../state";
import { bytes, count, duration, loss, thing } from "../words";

export function KeptOffer({ primary }: { primary: boolean }) {
  const kept = keptOffer.value;
  if (!kept || otherTabTrains.value) return null;
  const { text, adapter, keptAt, fits, downloaded } = kept;
  const heldOut = adapter.loss === null ? "" : `, held-out loss ${loss(adapter.loss)}`;
  const what = thing(adapter);
  const one = what === "model" ? "a model" : "an adapter";
  const title = downloaded ? `Your ${what} is downloaded.` : `You have ${one} that was not downloaded.`;
  return (
    <section class="offer" aria-label={`${one} of yours`}>
      <p>
        <strong>{title}</strong> It learnt from {text} {duration(Math.max(0, Date.now() - keptAt))} ago (step{" "}
        {count(adapter.step)}
        {heldOut}).{" "}
        {downloaded
          ? "This browser no longer keeps it: the file is among your downloads."
          : "This browser keeps it until you download it or forget it, or until a new run is finished."}
      </p>
      {!fits && <p class="note">{whyNoTry(kept.model.name)}</p>}
      <div class="buttons">
        <button type="button" class={primary ? "primary" : ""} onClick={downloadKept}>
          {downloaded ? "Download again" : `Download ${what}, ${bytes(adapter.weights.length)}`}
        </button>
        <button type="button" disabled={!fits || changingModel.value} onClick={tryKept}>
          Try it
        </button>
        <button
          type="button"
          class="plain"
          onClick={() => {
            document.getElementById("text-title")?.focus();
            forget();
          }}
        >
          {downloaded ? "Close" : "Forget it"}
        </button>
      </div>
    </section>
  );
}

function whyNoTry(name: string): string {
  const now = model.value.state;
  if (now === "loading") return "You can try it once the model is loaded.";
  if (now === "ready") return `It belongs to another model, ${name}: load that one in the model card to try it.`;
  return "Trying it needs the model, which does not run here. Downloading works.";
}

/** Says what a new run does to an adapter that nobody has downloaded. */
export function Replaces() {
  const waiting = undownloaded.value;
  if (!waiting) return null;
  return (
    <p class="quiet">
      When the new run is finished, what it leaves takes the place of your {thing(waiting)} of step{" "}
      {count(waiting.step)}, which you have not downloaded. Download that one first if you want both.
    </p>
  );
}
