/** What can be done with a run: train, continue from a stored state, pause, resume, stop, cancel, save. */

import { signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import type { KeptAdapter } from "../api/kept_store";
import { type RunRecord, readRun, type SavedRun } from "../api/run_store";
import type { Session } from "../api/session";
import type { KeptFiles, ModelInfo, Notice, Settings } from "../api/types";
import { isLost, session, storeAs } from "./engine";
import { hold as holdAdapter } from "./kept";
import { alone } from "./lock";
import { addEvent, begin, end, hold, type Run, ranFor, redraw } from "./progress";
import { adopt, settings } from "./settings";
import {
  accepted,
  adapter,
  changing,
  downloaded,
  model,
  openedFrom,
  startFrom,
  type Text,
  text,
  training,
} from "./state";
import { show } from "./text";
import { complain, forgive } from "./trouble";
import { lookForUnfinished } from "./unfinished";
import { complainWhereItHelps } from "./where_it_helps";
import { thing } from "./words";

/** Cancelling a run that took longer asks first. */
const WORTH_ASKING_MS = 60_000;
const NO_MODEL: RunRecord["model"] & Pick<ModelInfo, "weights"> = { name: "", sha256: "", weights: "auto" };
/** The visitor has pressed Cancel, and is asked whether a long run shall go. */
export const asksToCancel = signal(false);

let live: Run | undefined;
/** A click has asked for the lock, which another click must not ask for again. */
let asked = false;
let last: Promise<unknown> = Promise.resolve();
/** The run that was begun last. */
export let lastId = "";

/** The last run is over, and nothing of it is under way any more. */
export const ended = () => last;

export function train() {
  return whenFree(async (engine) => {
    const wanted = startingFrom(settings.value);
    const taken = text.value;
    if (wanted && taken) await go(engine, wanted, taken, begin(wanted.steps));
  });
}

/** Continues the run that the browser's storage holds, as if it had never stopped; with a warning, if there is one. */
export function continueRun(warning?: Notice) {
  return whenFree(async (engine) => {
    const saved = await readRun().catch((error) => complain("train", error));
    if (!saved) return lookForUnfinished();
    const live = begin(saved.settings.steps, saved.ms);
    if (warning) live.warnings = [warning];
    const { documents } = saved.text;
    const bytes = documents.reduce((sum, document) => sum + document.content.size, 0);
    adopt(saved.settings);
    text.value = { ...saved.text, bytes, dataset: null };
    accepted.value = true;
    changing.value = null;
    const stored = await storedAsIn(saved, engine);
    if (stored) await go(stored, saved.settings, text.value, live, saved);
    else end(live);
  });
}

/** The engine, started again if the run stored the model's numbers differently. Null if it cannot be started. */
async function storedAsIn({ model: { weights } }: SavedRun, engine: Session): Promise<Session | null> {
  const now = model.value;
  if (!weights || (now.state === "ready" && now.info.weights === weights)) return engine;
  await storeAs(weights);
  return session();
}

export async function pause() {
  if (!live || live.paused) return;
  (await session())?.pause(true);
  live.paused = true;
  hold(live);
  redraw(live);
}

export async function resume() {
  if (!live?.paused) return;
  (await session())?.pause(false);
  live.paused = false;
  live.since = performance.now();
  redraw(live);
}

/** Ends the run; with `keep`, its best adapter stays. */
export async function stop(keep: boolean) {
  asksToCancel.value = false;
  if (live) live.ending = { keep };
  (await session())?.stop(keep);
}

/** Ends the run and keeps nothing of it; asks first if much would go. */
export function cancel() {
  if (live && ranFor(live) > WORTH_ASKING_MS) asksToCancel.value = true;
  else return stop(false);
}

export function keepRunning() {
  asksToCancel.value = false;
}

/** Has the state of the run saved after the step under way. */
export async function saveSoon() {
  if (training.peek()) (await session())?.save();
}

async function whenFree(act: (engine: Session) => Promise<void>) {
  const engine = await session();
  if (!engine || training.value || asked) return;
  asked = true;
  last = alone(() => act(engine)).finally(() => {
    asked = false;
  });
  await last;
}

/** A run that starts from an adapter takes over that adapter's shape. */
function startingFrom(wanted: Settings | null): Settings | null {
  const from = startFrom.value;
  if (!wanted || !from) return wanted;
  return { ...wanted, rank: from.rank, alpha: from.alpha, targets: from.targets.join(",") };
}

async function go(engine: Session, planned: Settings, taken: Text, fresh: Run, saved?: SavedRun) {
  live = fresh;
  fresh.savedStep = saved?.step ?? 0;
  forgive("train");
  const before = [adapter.value, openedFrom.value, downloaded.value] as const;
  const putBack = () => {
    [adapter.value, openedFrom.value, downloaded.value] = before;
  };
  const init = startFrom.value;
  const about = saved ?? record(planned, taken);
  lastId = about.id;
  let stored: KeptAdapter | undefined;
  try {
    const dataset = await show(taken, planned);
    // What the settings are by default depends on the rows, which may have been cut anew.
    if (saved) adopt(planned);
    const wanted = (!saved && startingFrom(settings.peek())) || planned;
    fresh.total = wanted.steps;
    redraw(fresh);
    const running = engine.train(dataset, wanted, (event) => addEvent(fresh, event), keep, {
      ...(saved ? { resume: saved.state } : {}),
      ...(init && !saved ? { init: { config: init.config, weights: init.weights } } : {}),
      record: { ...about, settings: wanted },
      onSaved: (step) => noteSaved(fresh, step),
      onUnsaved: ({ message }) => warnUnsaved(fresh, message),
      onKept: (kept) => {
        stored = kept;
      },
      onUnkept: ({ message }) => warnUnkept(fresh, message),
    });
    // What was asked for before the engine knew of the run would be lost on it.
    if (fresh.ending) engine.stop(fresh.ending.keep);
    await running;
    fresh.stats = await engine.stats();
    if (fresh.outcome?.reason === "cancelled") putBack();
    else {
      if (fresh.step > 0) keep(stored?.adapter ?? (await engine.kept()));
      if (stored) await holdAdapter(stored);
      startFrom.value = null;
    }
  } catch (error) {
    // The engine may end before it has done what was asked of it.
    if (fresh.ending?.keep === false) putBack();
    complainWhereItHelps(error as LoraError);
    if (!isLost(error as LoraError)) await giveBack(engine);
  }
  await lookForUnfinished();
  asksToCancel.value = false;
  end(fresh);
}

function record(wanted: Settings, { name, prompt, documents }: Text): RunRecord {
  const { name: base, sha256, weights } = model.value.state === "ready" ? model.value.info : NO_MODEL;
  return {
    id: crypto.randomUUID(),
    settings: wanted,
    text: { name, documents, ...(prompt ? { prompt } : {}) },
    model: { name: base, sha256, weights },
    ms: 0,
  };
}

function noteSaved(live: Run, step: number) {
  live.savedStep = step;
  setWarning(live, null);
}

function warnUnsaved(live: Run, reason: string) {
  const since = live.savedStep > 0 ? `what it learns after step ${live.savedStep}` : "it";
  setWarning(live, `this run could not be saved (${reason}); it goes on, but if you close the tab, ${since} is lost`);
}

function warnUnkept(live: Run, reason: string) {
  setWarning(
    live,
    `your ${thing(adapter.peek())} could not be kept in this browser (${reason}); it is lost when you close the tab`,
  );
}

/** The one warning about the browser's storage; null: there is nothing to warn of any more. */
function setWarning(live: Run, message: string | null) {
  const others = live.warnings.filter(({ code }) => code !== "storage");
  live.warnings = message === null ? others : [...others, { code: "storage", message }];
  redraw(live);
}

function keep(files: KeptFiles) {
  adapter.value = files;
  openedFrom.value = null;
  downloaded.value = false;
}

/** After a run that ended in an error, only the page has its best adapter: the engine gets it back. */
async function giveBack(engine: Session) {
  const kept = adapter.value;
  if (kept) await engine.setKept(kept).catch((error) => complain("keep", error));
}
