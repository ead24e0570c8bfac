/** The offer to continue a run that was stopped, or that a closed tab cut short. */

import { otherRun, otherTabTrains } from "../lock";
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
    <section class="offer" aria-label="An unfinished run">
      <p>
        <strong>You have an unfinished run.</strong> {text.name}, {where}, saved in this browser's private storage{" "}
        {duration(Math.max(0, Date.now() - savedAt))} ago. A new run replaces it.
      </p>
      {!fits && model.value.state === "ready" && (
        <p class="note">
          It was started with another model, {saved.model.name}: load that one in the model card first.
        </p>
      )}
      <div class="buttons">
        <button
          type="button"
          class={primary ? "primary" : ""}
          disabled={!fits || changingModel.value}
          onClick={() => continueRun()}
        >
          Continue where you left off ({where})
        </button>
        <button
          type="button"
          class="plain"
          onClick={() => {
            document.getElementById(primary ? "text-title" : "train-title")?.focus();
            forget();
          }}
        >
          Forget it
        </button>
      </div>
    </section>
  );
}

export function OtherTab() {
  if (!otherTabTrains.value) return null;
  const now = otherRun.value;
  return (
    <p class="note">
      Another tab of this page is training
      {now && (
        <>
          {" "}
          on <bdi>{now.text}</bdi>, step {count(now.step)} of {count(now.total)}
        </>
      )}
      . You can start here when that one is done, and go on with its run if it is closed before.
    </p>
  );
}
