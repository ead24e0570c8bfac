/** The promise under the title, with its count, and what computes; or why nothing can, and what to do. */

import type { Advice } from "../../api/availability";
import { speed } from "../estimate";
import { newerWaits } from "../offline";
import { hubRequests, locked, requests } from "../privacy";
import { device } from "../settings";
import { faster, model } from "../state";
import { troubles } from "../trouble";
import { count, counted, roughly } from "../words";
import { Fold } from "./fold";
import "./strip.css";

export function Strip() {
  return model.value.state === "absent" ? <Absent {...model.value} /> : <Promised />;
}

function Promised() {
  return (
    <div class="strip">
      <p>
        <strong>Your text stays on this machine.</strong>{" "}
        <span class="quiet">{locked.value ? <Count /> : <Unlocked />}</span>
      </p>
      <Fold title="How can I check that?">
        <p>
          The page loads its program, the model and the samples from its own address. Then it locks itself: from then on
          the browser refuses every connection the page might try to open, until you reload, except for parts of the
          page from its own address, which the count above shows. That count is the browser's own.
        </p>
        <p>
          After that you can go offline: everything keeps working, training and downloading included. The browser also
          stores a copy of the page's own files, so that you can open the page again without a network. To get that
          copy, it asks for these files and nothing else.
        </p>
        <p>
          If you ask for a model from the Hugging Face Hub, a worker of its own fetches it. It is told the model's name,
          and never a word of your text; the rest of the page stays locked.
        </p>
        <p>
          During a run, your text, the settings and the half-trained adapter are also kept on this machine, in the
          browser's private storage for this page: after the first test on held-out rows, then every half minute or more
          often, and whenever you look at another tab. A tab that is closed loses only what was learnt since. They are
          deleted when the run is finished or cancelled; after a stop they stay until you continue or press{" "}
          <em>Forget it</em>.
        </p>
        <p>
          The adapter of a run that is over is kept there too, until you delete it in <em>My adapters</em>, together
          with the name and the size of its text, but not the text. Private windows, clearing the data of this page and
          the button <em>Delete everything</em> delete all of it.
        </p>
      </Fold>
      <Processor />
      {newerWaits.value && (
        <p role="status">A new version of this page is ready. You get it once every tab of this page is closed.</p>
      )}
    </div>
  );
}

/** Once it is locked, the page can fetch nothing but parts of itself. */
function Count() {
  const [own, others] = [requests.value, hubRequests.value];
  return (
    <>
      {counted(own, "network request")} since the page was ready{own > 0 && ", for parts of the page"}
      {others > 0 && `; ${count(others)} to the Hub, for the models that you asked about`}.
    </>
  );
}

function Unlocked() {
  const failed = model.value.state === "failed" || troubles.value.samples;
  return <>{failed ? "The page locks itself as soon as everything has been fetched." : "Getting ready…"}</>;
}

/** Says who does the work where there is no graphics card, how fast, and what would make it faster. */
function Processor() {
  if (model.value.state !== "ready" || model.value.info.device.kind !== "cpu") return null;
  const rate = speed.value === null ? "" : `, about ${roughly(speed.value)} tokens a second`;
  return (
    <>
      <p>No graphics card is used: your processor does it{rate}.</p>
      {faster.value && (
        <Fold title="Could it be faster?">
          <p>
            A graphics card would be faster. {faster.value.reason} {faster.value.advice}
          </p>
        </Fold>
      )}
    </>
  );
}

interface Missing extends Advice {
  noCard: boolean;
}

function Absent({ noCard, reason, advice }: Missing) {
  return (
    <div class="strip warning" role="alert">
      <p>
        <strong>
          {noCard
            ? "The address of this page asks for a graphics card, and there is none to use."
            : "This browser cannot train."}
        </strong>{" "}
        {reason}
      </p>
      <p>
        <strong>What to do:</strong> {advice} {noCard && "Your processor can do it, too, only not as fast."}
      </p>
      {noCard && (
        <div class="buttons">
          <button type="button" onClick={reopenOnProcessor}>
            Use the processor
          </button>
        </div>
      )}
      <p class="quiet">
        What still works: you can choose a text and look at it here. The same training also runs without a browser, with
        the command <code>tabtune train</code>.
      </p>
    </div>
  );
}

/** The page has locked itself: only after a reload can it fetch the model. */
function reopenOnProcessor() {
  device.value = "cpu";
  location.reload();
}
