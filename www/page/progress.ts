/** A run as the cards show it: the sum of its events. */

import type { Event, Notice, Stats } from "../api/types";
import { announce, run, text } from "./state";
import { complain, toSetting } from "./trouble";
import { duration } from "./words";

type Done = Extract<Event, { type: "done" }>;

export interface Run {
  state: "starting" | "training" | "ended";
  paused: boolean;
  /** The end that the visitor has asked for. */
  ending: { keep: boolean } | null;
  /** Null while it runs, and still null after an error ended it. */
  outcome: Done | null;
  phase: { phase: string; done: number; total: number } | null;
  total: number;
  step: number;
  steps: number[];
  losses: number[];
  /** The losses as a moving average, because single batches differ a lot. */
  smooth: number[];
  evals: { step: number; loss: number }[];
  /** There will be no held-out loss: no rows are held out, or nothing in them is learnt. */
  unmeasured: boolean;
  samples: { step: number; prompt: string; text: string }[];
  warnings: Notice[];
  tokensPerSecond: number;
  etaMs: number | null;
  /** How long it ran until `since`, without pauses. `since` is null while it does not run. */
  ms: number;
  since: number | null;
  stats: Stats | null;
  /** The step at which the run was last written to the browser's storage. */
  savedStep: number;
  /** Every event of the engine, in order: the log. */
  events: Event[];
}

const GREW = "the numbers grew without bound, so the run was stopped; the last good adapter is kept";
const LOWER = "Try a learning rate three times lower.";
const REDRAW_MS = 100;
/** The weight of a new loss in the moving average; of the first few losses it is the plain mean. */
const NEW_IN_AVERAGE = 0.2;

/** A new run, or one that has already run for `ms`. */
export function begin(total: number, ms = 0): Run {
  const live: Run = {
    state: "starting",
    paused: false,
    ending: null,
    outcome: null,
    phase: null,
    total,
    step: 0,
    steps: [],
    losses: [],
    smooth: [],
    evals: [],
    unmeasured: false,
    samples: [],
    warnings: [],
    tokensPerSecond: 0,
    etaMs: null,
    ms,
    since: performance.now(),
    stats: null,
    savedStep: 0,
    events: [],
  };
  redraw(live);
  return live;
}

export function addEvent(live: Run, event: Event) {
  live.events.push(event);
  if (event.type === "phase") setPhase(live, event);
  if (event.type === "step") addStep(live, event);
  if (event.type === "config") live.unmeasured = event.heldOut === 0;
  if (event.type === "eval" && event.loss !== null) replace(live.evals, { step: event.step, loss: event.loss });
  else if (event.type === "eval") live.unmeasured = true;
  if (event.type === "sample") replace(live.samples, event);
  if (event.type === "warning") warn(live, event);
  if (event.type === "done") live.outcome = event;
  redrawSoon(live);
}

export function hold(live: Run) {
  live.ms = ranFor(live);
  live.since = null;
}

/** How long it has run by now, in milliseconds. */
export function ranFor({ ms, since }: Run): number {
  return ms + (since === null ? 0 : performance.now() - since);
}

export function end(live: Run) {
  hold(live);
  live.state = "ended";
  live.paused = false;
  redraw(live);
}

function setPhase(live: Run, event: Extract<Event, { type: "phase" }>) {
  live.phase = event;
  live.state = event.phase === "training" || event.phase === "paused" ? "training" : "starting";
}

function addStep(live: Run, event: Extract<Event, { type: "step" }>) {
  const before = live.smooth.at(-1) ?? 0;
  live.step = event.step;
  live.steps.push(event.step);
  live.losses.push(event.loss);
  live.smooth.push(before + Math.max(NEW_IN_AVERAGE, 1 / live.steps.length) * (event.loss - before));
  live.tokensPerSecond = event.tokensPerSecond;
  live.etaMs = event.etaMs;
  announce(`Step ${event.step} of ${live.total}, about ${duration(event.etaMs)} left.`);
}

/** The last held-out loss or sample that is reported for a step is the one that counts. */
function replace<T extends { step: number }>(all: T[], fresh: T) {
  const known = all.findIndex(({ step }) => step === fresh.step);
  if (known < 0) all.push(fresh);
  else all[known] = fresh;
}

/** Repeats no warning that is already shown here or in the text's card. Each step to less memory is another one. */
function warn(live: Run, { code, message }: Notice) {
  const known = [...live.warnings, ...(text.value?.dataset?.warnings ?? [])];
  if (code === "non_finite") complain("train", { code, message: GREW, hint: LOWER }, toSetting("lr"));
  else if (code === "less_memory" || !known.some((other) => other.code === code)) live.warnings.push({ code, message });
}

let timer = 0;

/** The cards are redrawn at most ten times a second, however fast the steps are. */
function redrawSoon(live: Run) {
  timer ||= window.setTimeout(() => redraw(live), REDRAW_MS);
}

export function redraw(live: Run) {
  clearTimeout(timer);
  timer = 0;
  run.value = { ...live };
}
