/** The promise under the title, with its count; or, without WebGPU, the reason and what to do. */

import { locked, requests } from "../privacy";
import { model } from "../state";
import { troubles } from "../trouble";
import { counted } from "../words";
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
        <span class="quiet">
          {locked.value ? `${counted(requests.value, "network request")} since the page was ready.` : <Unlocked />}
        </span>
      </p>
      <Fold title="How can I check that?">
        <p>
          The page loads its program, the model and the samples from its own address. Then it locks itself: from then on
          the browser refuses every connection the page might try to open, until you reload. The count above is the
          browser's own.
        </p>
        <p>After that you can go offline: everything keeps working, training and downloading included.</p>
        <p>
          During a run, your text, the settings and the half-trained adapter are also kept on this machine, in the
          browser's private storage for this page: after the first test on held-out rows, then every half minute or more
          often, and whenever you look at another tab. A tab that is closed loses only what was learnt since. They are
          deleted when the run is finished or cancelled; after a stop they stay until you continue or press{" "}
          <em>Forget it</em>.
        </p>
        <p>
          The adapter of a run that is over is kept there too, until you download it, press <em>Forget it</em>, or
          finish another run. Private windows and clearing the data of this page delete all of it.
        </p>
      </Fold>
    </div>
  );
}

function Unlocked() {
  const failed = model.value.state === "failed" || troubles.value.samples;
  return <>{failed ? "The page locks itself as soon as everything has been fetched." : "Getting ready…"}</>;
}

function Absent({ reason, advice }: { reason: string; advice: string }) {
  return (
    <div class="strip warning" role="alert">
      <p>
        <strong>This browser cannot train.</strong> {reason}
      </p>
      <p>
        <strong>What to do:</strong> {advice}
      </p>
      <p class="quiet">
        What still works: you can choose a text and look at it here. The same training also runs without a browser, with
        the command <code>tabtune train</code>.
      </p>
    </div>
  );
}
