/** A training run: its events folded into what the cards show, and the verbs start, stop and cancel. */

import type { LoraError } from "../api/errors";
import type { AdapterFiles, Event, Notice, Stats } from "../api/events";
import type { Session } from "../api/session";
import { isLost, session } from "./engine";
import { complainWhereItHelps } from "./estimate";
import { settings } from "./settings";
import { adapter, announce, downloaded, run, text, training } from "./state";
import { read } from "./text";
import { complain, forgive } from "./trouble";
import { duration } from "./words";

type Done = Extract<Event, { type: "done" }>;

export interface Run {
  state: "starting" | "training" | "ended";
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
  startedAt: number;
  ms: number;
  stats: Stats | null;
}

const GREW = "the numbers grew without bound, so the run was stopped; the last good adapter is kept";
const LOWER = "Open the model's card and try a learning rate three times lower.";
const REDRAW_MS = 100;
/** The weight of a new loss in the moving average; the first few losses are averaged plainly. */
const NEW_IN_AVERAGE = 0.2;

export async function train() {
  const wanted = settings.value;
  const taken = text.value;
  const engine = await session();
  if (!wanted || !taken || !engine || training.value) return;
  forgive("train");
  const before = adapter.value;
  const live = begin(wanted.steps);
  const release = holdTab();
  try {
    await read(taken);
    await engine.train(wanted, (event) => hear(live, event), keep);
    live.stats = await engine.stats();
    if (live.outcome?.reason === "cancelled") adapter.value = before;
    else if (live.step > 0) keep(await engine.adapter());
  } catch (error) {
    complainWhereItHelps(error as LoraError);
    if (!isLost(error as LoraError)) await giveBack(engine);
  }
  release();
  live.state = "ended";
  live.ms = performance.now() - live.startedAt;
  show(live);
}

export async function stop(keepIt: boolean) {
  (await session())?.stop(keepIt);
}

/** The worker died or the graphics card was lost. All that is gone are the steps since the kept adapter was made. */
export function explainLoss(error: LoraError) {
  const kept = adapter.peek();
  const cause =
    error.code === "device_lost" ? "The graphics card stopped answering" : "The program behind the page stopped";
  const what = kept
    ? `${cause}. Your text, your settings and the best adapter so far (step ${kept.step}) are kept`
    : `${cause}. Your text and your settings are kept`;
  const hint = kept ? "Try the adapter or download it below, or train again." : "Train again; it starts afresh.";
  complain("train", { code: error.code, message: what, hint });
}

function begin(total: number): Run {
  const live: Run = {
    state: "starting",
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
    startedAt: performance.now(),
    ms: 0,
    stats: null,
  };
  show(live);
  return live;
}

function hear(live: Run, event: Event) {
  if (event.type === "phase") live.phase = event;
  if (event.type === "step") addStep(live, event);
  if (event.type === "eval") live.evals.push({ step: event.step, loss: event.loss });
  if (event.type === "sample") live.samples.push({ step: event.step, text: event.text });
  if (event.type === "warning") warn(live, event);
  if (event.type === "done") live.outcome = event;
  showSoon(live);
}

function addStep(live: Run, event: Extract<Event, { type: "step" }>) {
  const before = live.smooth.at(-1) ?? 0;
  live.state = "training";
  live.step = event.step;
  live.steps.push(event.step);
  live.losses.push(event.loss);
  live.smooth.push(before + Math.max(NEW_IN_AVERAGE, 1 / live.steps.length) * (event.loss - before));
  live.tokensPerSecond = event.tokensPerSecond;
  live.etaMs = event.etaMs;
  announce(`Step ${event.step} of ${live.total}, about ${duration(event.etaMs)} left.`);
}

/** What the text's card says already is not said again. */
function warn(live: Run, { code, message }: Notice) {
  if (code === "non_finite") complain("train", { code, message: GREW, hint: LOWER });
  else if (!text.value?.summary?.warnings.some((known) => known.code === code)) live.warnings.push({ code, message });
}

function keep(files: AdapterFiles) {
  adapter.value = files;
  downloaded.value = false;
}

/** A run that ended in an error left its best adapter with the page only. */
async function giveBack(engine: Session) {
  const kept = adapter.value;
  if (kept) await engine.setAdapter(kept.config, kept.weights).catch((error) => complain("keep", error));
}

let timer = 0;

/** The cards follow at most ten times a second, however fast the steps are. */
function showSoon(live: Run) {
  timer ||= window.setTimeout(() => show(live), REDRAW_MS);
}

function show(live: Run) {
  clearTimeout(timer);
  timer = 0;
  run.value = { ...live };
}

/** A tab that holds a lock is not frozen while it is hidden. Returns what lets go of it. */
function holdTab(): () => void {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  navigator.locks?.request("tabtune-run", { mode: "shared" }, () => held);
  return release;
}
