/** What this device does in a step, as it was measured: how much of what it could, and what takes the time. */

import type { KernelTime, Profile } from "../../api/types";
import { kernelWords } from "../kernel_words";
import { interrupted, measurable, measure, measuring, pace, profile, stopMeasuring } from "../measuring";
import { model } from "../state";
import { count, thin } from "../words";
import "./measured.css";

export { measure };

const HEAVIEST = 3;

export function Measured() {
  if (measuring.value)
    return (
      <>
        <p role="status">Measuring…</p>
        <button type="button" onClick={stopMeasuring}>
          Stop measuring
        </button>
      </>
    );
  return (
    <>
      {interrupted.value && <p role="status">The measurement was stopped before its end.</p>}
      {profile.value && <Step {...profile.value} />}
      <button type="button" disabled={!measurable.value} onClick={measure}>
        {profile.value ? "Measure it again" : "Measure this device"}
      </button>
    </>
  );
}

function Step({ workers, msPerStep, flopsPerStep, mostFlopsPerSecond, share, timestamps, kernels }: Profile) {
  const isCard = model.value.state === "ready" && model.value.info.device.kind === "gpu";
  return (
    <>
      <dl class="stats">
        {pace.value && (
          <>
            <dt>Speed of the run</dt>
            <dd>{count(pace.value)} tokens/s</dd>
          </>
        )}
        <dt>A step of full rows takes</dt>
        <dd>{thin(msPerStep)} ms</dd>
        <dt>It multiplies and adds (GFLOP)</dt>
        <dd>{thin(flopsPerStep / 1e9)} billion times</dd>
        <dt>In a second (GFLOP/s)</dt>
        <dd>{billions((flopsPerStep / msPerStep) * 1e3)}</dd>
        {mostFlopsPerSecond !== null && share !== null && (
          <>
            <dt>The most that the device does in a second</dt>
            <dd>{billions(mostFlopsPerSecond)}</dd>
            <dt>So a step uses</dt>
            <dd>{hundredths(share)} of that</dd>
          </>
        )}
      </dl>
      {share === null && <p class="quiet">How much of what it could do that is, is measured on graphics cards only.</p>}
      {workers > 1 && (
        <p class="quiet">
          {workers} workers share each step of a run. These numbers are of one of them and its part, while the others
          rest.
        </p>
      )}
      <Heaviest kernels={kernels} />
      <p class="quiet">
        Each program ran by itself.{" "}
        {timestamps
          ? "The device itself said how long it took."
          : isCard
            ? "The page waited for it, and the wait counts, because this browser does not say how long it took."
            : "The clock of the worker said how long it took."}
      </p>
    </>
  );
}

function Heaviest({ kernels }: { kernels: KernelTime[] }) {
  return (
    <table class="heaviest">
      <caption>The programs (kernels) that take longest in a step</caption>
      <thead>
        <tr>
          <th scope="col">What it does</th>
          <th scope="col">Times</th>
          <th scope="col">Takes</th>
          <th scope="col">Of all</th>
        </tr>
      </thead>
      <tbody>
        {kernels.slice(0, HEAVIEST).map(({ kernel, calls, ms, share }) => (
          <tr key={kernel}>
            <th scope="row">
              {kernelWords(kernel)} <code>{kernel}</code>
            </th>
            <td>{count(calls)}</td>
            <td>{thin(ms)} ms</td>
            <td>{hundredths(share)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const billions = (n: number): string => `${thin(n / 1e9)} billion`;

/** "27 %", "0.4 %". */
const hundredths = (part: number): string => `${thin(100 * part)} %`;
