/** The offer to tell the visitor when a long run has ended. */

import { tell, telling } from "../notify";
import type { Run } from "../progress";
import "./tell.css";

const LONG_MS = 60_000;

export function Tell({ run }: { run: Run }) {
  const soFar = run.ms + (run.since === null ? 0 : performance.now() - run.since);
  if (soFar + (run.etaMs ?? 0) < LONG_MS) return null;
  return (
    <div class="tell">
      <label>
        <input
          type="checkbox"
          checked={telling.value === "yes" || telling.value === "asking"}
          onChange={(event) => tell(event.currentTarget.checked)}
        />{" "}
        Tell me when it is done
      </label>
      <p class="quiet" role="status">
        {words[telling.value]}
      </p>
    </div>
  );
}

const words = {
  no: "The browser may first ask you to allow notifications. The title of the tab shows the progress anyway.",
  asking: "Please answer the browser's question.",
  yes: "If this tab is out of sight when the run ends, your system shows a notification.",
  dismissed: "The browser has not been allowed to. Tick the box to be asked again.",
  denied:
    "This browser does not let the page show notifications. If you want them, allow them in the browser's settings " +
    "for this site and tick the box again. The title of the tab shows the progress anyway.",
  unsupported:
    "This browser cannot show notifications for a page like this one. The title of the tab shows the progress.",
};
