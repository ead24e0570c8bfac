/** A run as the cards show it: its events, folded. */

import type { Event, Notice, Stats } from "../api/events";
import { announce, run, text } from "./state";
import { complain, toSettings } from "./trouble";
import { duration } from "./words";

type Done = Extract<Event, { type: "done" }>;

export interface Run {
  state: "starting" | "training" | "ended";
  paused: boolean;
  /** Null while it runs, and for good when an error ended it. */
  outcome: Done | null;
  phase: { phase: string; done: number; total: number } | null;
  total: number;
  step: number;
  steps: number[];
  losses: number[];
  /** The losses as a moving average, because single batches differ much. */
  smooth: number[];
  evals: { step: number; loss: number }[];
  samples: { step: number; text: string }[];
  warnings: Notice[];
  tokensPerSecond: number;
  etaMs: number | null;
  /** How long it has run, without the pauses; counted from `since`, which is null while it does not. */
  ms: number;
  since: number | null;
  stats: Stats | null;
  /** The step at which the run was last written to the browser's storage. */
  savedStep: number;
  /** Everything the engine said, as it came: the log. */
  events: Event[];
}

const GREW = "the numbers grew without bound, so the run was stopped; the last good adapter is kept";
const LOWER = "Try a learning rate three times lower.";
const REDRAW_MS = 100;
/** The weight of a new loss in the moving average; the first few losses are averaged plainly. */
const NEW_IN_AVERAGE = 0.2;

/** A new run, or one that went on for `ms` before. */
export function begin(total: number, ms = 0): Run {
  const live: Run = {
    state: "starting",
    paused: false,
    outcome: null,
    phase: null,
    total,
    step: 0,
    steps: [],
    losses: [],
    smooth: [],
    evals: [],
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
  show(live);
  return live;
}

export function hear(live: Run, event: Event) {
  live.events.push(event);
  if (event.type === "phase") follow(live, event);
  if (event.type === "step") addStep(live, event);
  if (event.type === "eval") replace(live.evals, { step: event.step, loss: event.loss });
  if (event.type === "sample") replace(live.samples, { step: event.step, text: event.text });
  if (event.type === "warning") warn(live, event);
  if (event.type === "done") live.outcome = event;
  showSoon(live);
}

export function hold(live: Run) {
  if (live.since !== null) live.ms += performance.now() - live.since;
  live.since = null;
}

export function end(live: Run) {
  hold(live);
  live.state = "ended";
  live.paused = false;
  show(live);
}

function follow(live: Run, event: Extract<Event, { type: "phase" }>) {
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

/** The held-out loss of a step, or its sample, is the one that was told last. */
function replace<T extends { step: number }>(all: T[], fresh: T) {
  const known = all.findIndex(({ step }) => step === fresh.step);
  if (known < 0) all.push(fresh);
  else all[known] = fresh;
}

/** What the text's card says already is not said again, nor is anything said twice. */
function warn(live: Run, { code, message }: Notice) {
  const known = [...live.warnings, ...(text.value?.summary?.warnings ?? [])];
  if (code === "non_finite") complain("train", { code, message: GREW, hint: LOWER }, toSettings);
  else if (!known.some((other) => other.code === code)) live.warnings.push({ code, message });
}

let timer = 0;

/** The cards follow at most ten times a second, however fast the steps are. */
function showSoon(live: Run) {
  timer ||= window.setTimeout(() => show(live), REDRAW_MS);
}

export function show(live: Run) {
  clearTimeout(timer);
  timer = 0;
  run.value = { ...live };
}
