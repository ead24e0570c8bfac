/** "Look inside": what the run used of the machine, and its log. */

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
        Everything the engine reported, {counted(run.events.length, "line")} so far, can be saved as a log (JSONL). Of
        your words it holds the prompt of the samples, followed by what the model wrote, and the names of files and
        columns that a warning mentions.
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
      <dt>Programs that compute (kernels)</dt>
      <dd>{count(stats.pipelines)}</dd>
      <dt>Pieces of memory that they use (buffers)</dt>
      <dd>{count(stats.buffers)}</dd>
      <dt>Memory in use now</dt>
      <dd>{bytes(stats.deviceBytes)}</dd>
      <dt>Most memory in use so far</dt>
      <dd>{bytes(stats.devicePeakBytes)}</dd>
    </dl>
  );
}
