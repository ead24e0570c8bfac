/** How the loss falls: a chart, and the same numbers as a table. */

import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import type { Run } from "../progress";
import { loss } from "../words";
import { Chart } from "./chart";
import "./curve.css";

const UNMEASURED_ROWS = 10;

export function Curve({ run }: { run: Run }) {
  const shown = useSignal(false);
  const table = useId();
  if (run.evals.length === 0 && run.steps.length === 0) return null;
  return (
    <figure class="curve">
      <figcaption>
        How surprised the model is by your text <span class="quiet">(loss, nats per token); lower is better</span>
      </figcaption>
      <Chart run={run} />
      <Lines run={run} />
      <button
        type="button"
        class="small"
        aria-expanded={shown.value}
        aria-controls={table}
        onClick={() => {
          shown.value = !shown.value;
        }}
      >
        {shown.value ? "Hide the table" : "The same numbers as a table"}
      </button>
      <div id={table} class={shown.value ? "" : "visually-hidden"}>
        <LossTable run={run} />
      </div>
    </figure>
  );
}

export function Lines({ run }: { run: Run }) {
  return (
    <ul class="legend lines">
      <li>
        <Swatch class="training" /> training rows, averaged
      </li>
      <li>
        <Swatch class="single" /> each step
      </li>
      {run.unmeasured ? (
        <li>no held-out loss</li>
      ) : (
        <>
          <li>
            <Swatch class="held-out" /> held-out rows
          </li>
          <li>
            <Swatch class="base" /> before training
          </li>
        </>
      )}
    </ul>
  );
}

function Swatch({ class: name }: { class: string }) {
  return (
    <svg class={`swatch ${name}`} viewBox="0 0 28 8" aria-hidden="true">
      <path d="M1 4 H27" />
      {name === "held-out" && <circle cx="14" cy="4" r="3" />}
    </svg>
  );
}

export function LossTable({ run }: { run: Run }) {
  const best = bestOf(run);
  return (
    <table>
      <caption>Loss in nats per token</caption>
      <thead>
        <tr>
          <th scope="col">Step</th>
          <th scope="col">Training rows, averaged</th>
          {!run.unmeasured && <th scope="col">Held-out rows</th>}
        </tr>
      </thead>
      <tbody>
        {rowsOf(run).map(({ step, loss: heldOut }) => (
          <tr key={step}>
            <th scope="row">{step}</th>
            <td>{run.smooth[step - 1] === undefined ? "–" : loss(run.smooth[step - 1] as number)}</td>
            {heldOut !== undefined && (
              <td>
                {loss(heldOut)}
                {step === 0 ? " (before training)" : step === best?.step ? " (best)" : ""}
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The evaluations; without a held-out loss, about as many of the steps, and the last one. */
function rowsOf({ unmeasured, evals, steps }: Run): { step: number; loss?: number }[] {
  if (!unmeasured) return evals;
  const every = Math.ceil(steps.length / UNMEASURED_ROWS);
  return steps.filter((_, index) => (steps.length - 1 - index) % every === 0).map((step) => ({ step }));
}

export function bestOf({ evals }: Run): { step: number; loss: number } | undefined {
  return evals.filter(({ step }) => step > 0).sort((a, b) => a.loss - b.loss)[0];
}
