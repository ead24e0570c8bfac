/** The offer to go on with a run that was stopped, or that a closed tab cut short. */

import { otherTabTrains } from "../lock";
import { changingModel } from "../pick";
import { continueRun } from "../run";
import { model } from "../state";
import { forget, offer } from "../unfinished";
import { count, duration } from "../words";
import "./unfinished.css";

export function Offer({ primary = false }: { primary?: boolean }) {
  const saved = offer.value;
  if (!saved || otherTabTrains.value) return null;
  const { step, settings, text, savedAt, fits } = saved;
  const where = `step ${count(step)} of ${count(settings.steps)}`;
  return (
    <section class="offer" aria-label="A run to go on with">
      <p>
        <strong>A run can go on.</strong> {text.name}, {where}, kept in this browser's private storage{" "}
        {duration(Math.max(0, Date.now() - savedAt))} ago. Another run would take its place.
      </p>
      {!fits && model.value.state === "ready" && (
        <p class="note">It learns with another model, {saved.model.name}: load that one in the model's card first.</p>
      )}
      <div class="buttons">
        <button
          type="button"
          class={primary ? "primary" : ""}
          disabled={!fits || changingModel.value}
          onClick={continueRun}
        >
          Go on where you stopped ({where})
        </button>
        <button type="button" class="plain" onClick={forget}>
          Forget it
        </button>
      </div>
    </section>
  );
}

export function OtherTab() {
  if (!otherTabTrains.value) return null;
  return (
    <p class="note" role="status">
      Another tab of this page is training. You can start here when that one is done.
    </p>
  );
}
