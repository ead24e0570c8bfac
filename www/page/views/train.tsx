/** Card 3: one button, then the progress of the run. */

import { estimate, speed } from "../estimate";
import { otherTabTrains } from "../lock";
import { ending } from "../outcome";
import { changingModel } from "../pick";
import type { Run } from "../progress";
import { train } from "../run";
import { refusals, settings } from "../settings";
import { adapter, changing, model, openedFrom, run, startFrom, text, training } from "../state";
import { reading } from "../text";
import { count, counted, duration, exactDuration, loss, roughly } from "../words";
import { CardFrame } from "./card";
import { Curve } from "./curve";
import { Inside } from "./inside";
import { Notices } from "./notices";
import { Cancelled, RunButtons } from "./run_buttons";
import { Tell } from "./tell";
import { Timeline } from "./timeline";
import { Offer, OtherTab } from "./unfinished";
import { Unusable } from "./unusable";
import "./train.css";

export function TrainCard() {
  const now = run.value;
  const waiting = "Watch the model learn your text, and stop whenever you like.";
  return (
    <CardFrame
      card="train"
      number={3}
      title="Train"
      waiting={waiting}
      done={now && ending(now)}
      change="Show"
      always={text.value && <Offer />}
    >
      {now && (isCancelled(now) ? <Cancelled /> : <Progress {...now} />)}
      {!training.value && <Start again={now !== null} />}
      {(!now || isCancelled(now)) && <Inside run={null} />}
    </CardFrame>
  );
}

const isCancelled = ({ state, outcome }: Run) => state === "ended" && outcome?.reason === "cancelled";

function Start({ again }: { again: boolean }) {
  const measured = estimate.value;
  const time = measured && measured !== "measuring" ? `, about ${duration(measured.etaMs)}` : "";
  const unusable = Object.keys(refusals.value).length > 0;
  const primary = !adapter.value || startFrom.value !== null;
  const verb = startFrom.value ? "Continue from this adapter" : again ? "Train again" : "Train";
  return (
    <>
      <From />
      {!again && (
        <p>
          The model reads your rows in small batches, {counted(settings.value?.steps ?? 0, "time")} in all, and after
          each batch {settings.value?.method === "full" ? "its layers are" : "the adapter is"} adjusted a little. You
          can stop early and keep the best so far.
        </p>
      )}
      <SoftwareNote />
      <OtherTab />
      <Unusable primary={primary} />
      <div class="buttons">
        <button
          type="button"
          class={primary && !unusable ? "primary" : ""}
          disabled={unusable || otherTabTrains.value || changingModel.value || reading.value !== null}
          onClick={() => {
            changing.value = null;
            train();
          }}
        >
          {`${verb}${time}`}
        </button>
        {startFrom.value && (
          <button
            type="button"
            class="plain"
            onClick={() => {
              startFrom.value = null;
            }}
          >
            Start with a new adapter instead
          </button>
        )}
        {again && changing.value === "train" && (
          <button
            type="button"
            onClick={() => {
              changing.value = null;
            }}
          >
            Close
          </button>
        )}
        {measured === "measuring" && <span class="quiet">Measuring how fast this machine is…</span>}
      </div>
    </>
  );
}

/** Says which adapter the run starts from, if it is not a new one. */
function From() {
  const from = startFrom.value;
  if (!from) return null;
  return (
    <p class="from">
      The run starts from {openedFrom.value ?? `your adapter of step ${from.step}`}. Its rank ({from.rank}), alpha (
      {from.alpha}) and layers stay as they are, whatever the settings in the model card say.
    </p>
  );
}

const standsIn = () =>
  model.value.state === "ready" && model.value.info.device.kind === "gpu" && model.value.info.device.software;

/** Says that a program stands in for the graphics card that was asked for, and how fast it is. */
function SoftwareNote() {
  if (!standsIn()) return null;
  const rate = speed.value === null ? "" : `, at ${roughly(speed.value)} tokens a second`;
  return (
    <p class="note">
      The address of this page asks for a graphics card, and this browser has only software that stands in for one
      {rate}. Without “device=gpu” in the address, your processor does the same, and faster.
    </p>
  );
}

function Progress(now: Run) {
  const running = now.state !== "ended";
  return (
    <>
      {now.state === "starting" && <p>{phaseWords(now)}</p>}
      {running && (
        <progress value={now.step} max={now.total} aria-label="Steps done">
          {now.step} of {now.total}
        </progress>
      )}
      <Numbers {...now} />
      {running && <RunButtons run={now} />}
      {running && <Tell run={now} />}
      {now.outcome?.reason === "early_stop" && (
        <p class="quiet">It ended early, because the loss on the held-out rows no longer fell.</p>
      )}
      {now.paused && <p class="quiet">{pauseWords(now)}</p>}
      <Notices notices={now.warnings} />
      <Curve run={now} />
      <Timeline samples={now.samples} isChat={text.value?.dataset?.isChat ?? false} />
      <Inside run={now} />
    </>
  );
}

function phaseWords({ phase }: Run): string {
  if (phase?.phase === "compiling") {
    const device = standsIn() ? "software that stands in for a graphics card" : "graphics card";
    return `Getting the ${device} ready: ${phase.done} of ${counted(phase.total, "program")}.`;
  }
  return phase ? "Testing the untouched model on the held-out rows." : "Getting ready.";
}

function pauseWords({ phase, step, savedStep }: Run): string {
  if (phase?.phase !== "paused") return "Pausing when the step under way is finished.";
  const safe = step > 0 && step === savedStep ? ` Step ${count(step)} is saved, so you may close this tab.` : "";
  return `Paused; nothing is computed until you resume.${safe}`;
}

function Numbers(now: Run) {
  const left = now.etaMs === null ? "–" : `about ${duration(now.etaMs)}`;
  const base = now.evals.find((each) => each.step === 0)?.loss;
  const latest = now.evals.at(-1)?.loss;
  const none = now.unmeasured ? "no held-out loss" : "–";
  const held = base !== undefined && latest !== undefined ? `${loss(base)} → ${loss(latest)}` : none;
  return (
    <dl class="numbers">
      <Figure name="Step" value={`${now.step} of ${now.total}`} />
      <Figure name="Speed" value={now.step > 0 ? `${count(now.tokensPerSecond)} tokens/s` : "–"} />
      {now.state === "ended" ? (
        <Figure name="Took" value={exactDuration(now.ms)} />
      ) : (
        <Figure name="Left" value={left} />
      )}
      <Figure name="Surprise, held-out rows" value={held} />
    </dl>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
