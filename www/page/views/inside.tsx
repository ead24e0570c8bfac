/** "Look inside": what the run used of the machine, and its log. */

import type { Stats } from "../../api/types";
import { saveLog } from "../log";
import type { Run } from "../progress";
import { training } from "../state";
import { bytes, count, counted } from "../words";
import { Fold } from "./fold";
import { later } from "./later";
import "./inside.css";

/** There may be no run yet. */
export function Inside({ run }: { run: Run | null }) {
  return (
    <Fold title="Look inside">
      {run?.stats && <Used stats={run.stats} />}
      <Speed />
      {run && <Log run={run} />}
    </Fold>
  );
}

/** Whoever asks for the part of the page that measures wants it to measure. */
const measured = later("train", "the part of the page that measures", async () => {
  const { Measured, measure } = await import("./measured");
  measure();
  return Measured;
});

function Speed() {
  const Measured = measured.view.value;
  return (
    <>
      <p>
        How much of your device's arithmetic does a step use, and what takes the time? While nothing is trained, the
        page can measure that in a few seconds. It changes nothing.
      </p>
      {Measured ? (
        <Measured />
      ) : (
        <button type="button" disabled={training.value} onClick={measured.open}>
          Measure this device
        </button>
      )}
    </>
  );
}

function Log({ run }: { run: Run }) {
  return (
    <>
      <p>
        Everything the engine reported, {counted(run.events.length, "line")} so far, can be saved as a log (JSONL). Of
        your words it holds the prompt of the samples, followed by what the model wrote, and the names of files and
        columns that a warning mentions.
      </p>
      <button type="button" onClick={() => saveLog(run.events)}>
        Save the log
      </button>
    </>
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
