/** The promise under the title, with its count; or, without WebGPU, the reason and the way out. */

import { locked, requests } from "../privacy";
import { model } from "../state";
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
          {locked.value ? `${counted(requests.value, "network request")} since the page was ready.` : "Getting ready…"}
        </span>
      </p>
      <Fold title="How can I check that?">
        <p>
          The page has loaded its program, the model and the samples from its own address. Then it locked itself: the
          browser now refuses every connection the page might try to open, until you reload. The count above is the
          browser's own.
        </p>
        <p>You can switch off the network now: everything goes on working, training and download too.</p>
        <p>
          While a run goes on, your text, the settings and the half-trained adapter are also kept on this machine, in
          the browser's private storage for this page, so that a closed tab loses nothing. That is deleted when the run
          is finished or cancelled; after a stop it waits until you go on or press <em>Forget it</em>.
        </p>
      </Fold>
    </div>
  );
}

function Absent({ reason, advice }: { reason: string; advice: string }) {
  return (
    <div class="strip warning" role="alert">
      <p>
        <strong>This browser cannot train here.</strong> {reason}
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
