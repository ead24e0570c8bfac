/** "Look inside": what the run took of the graphics card, and everything it said. */

import type { Stats } from "../../api/types";
import { saveLog } from "../log";
import type { Run } from "../progress";
import { bytes, count, counted } from "../words";
import { Fold } from "./fold";
import "./inside.css";

export function Inside({ run }: { run: Run }) {
  return (
    <Fold title="Look inside">
      {run.stats && <Used stats={run.stats} />}
      <p>
        Everything the engine said, {counted(run.events.length, "line")} so far, can be saved as a log (JSONL). Of your
        words it holds the prompt of the samples, and what the model wrote from it.
      </p>
      <button type="button" onClick={() => saveLog(run.events)}>
        Save the log
      </button>
    </Fold>
  );
}

function Used({ stats }: { stats: Stats }) {
  return (
    <dl class="stats">
      <dt>Programs on the graphics card (pipelines)</dt>
      <dd>{count(stats.pipelines)}</dd>
      <dt>Pieces of its memory in use (buffers)</dt>
      <dd>{count(stats.buffers)}</dd>
      <dt>Its memory in use now</dt>
      <dd>{bytes(stats.deviceBytes)}</dd>
      <dt>Its memory in use at most</dt>
      <dd>{bytes(stats.devicePeakBytes)}</dd>
    </dl>
  );
}
