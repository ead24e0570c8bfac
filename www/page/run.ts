/** What can be done with a run: train, continue from a stored state, pause, resume, stop. */

import type { LoraError } from "../api/errors";
import { type RunRecord, readRun, type SavedRun } from "../api/run_store";
import type { Session } from "../api/session";
import type { AdapterFiles, Settings } from "../api/types";
import { isLost, session } from "./engine";
import { alone } from "./lock";
import { addEvent, begin, end, hold, type Run, redraw } from "./progress";
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
import { lookForUnfinished, unfinished } from "./unfinished";
import { complainWhereItHelps } from "./where_it_helps";

let live: Run | undefined;
/** A click has asked for the lock, which another click must not ask for again. */
let asked = false;

export function train() {
  return whenFree(async (engine) => {
    const wanted = startingFrom(settings.value);
    const taken = text.value;
    if (wanted && taken) await go(engine, wanted, taken, begin(wanted.steps));
  });
}

/** Continues the run that the browser's storage holds, as if it had never stopped. */
export function continueRun() {
  return whenFree(async (engine) => {
    const saved = await readRun().catch((error) => complain("train", error));
    if (!saved) return lookForUnfinished();
    const live = begin(saved.settings.steps, saved.ms);
    const { documents } = saved.text;
    const bytes = documents.reduce((sum, document) => sum + document.content.size, 0);
    adopt(saved.settings);
    text.value = { ...saved.text, bytes, dataset: null };
    accepted.value = true;
    changing.value = null;
    await go(engine, saved.settings, text.value, live, saved);
  });
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

export async function stop(keepIt: boolean) {
  (await session())?.stop(keepIt);
}

/** The worker died or the graphics card was lost. Only the steps since the kept adapter was made are gone. */
export async function explainLoss(error: LoraError) {
  if (training.peek()) await lookForUnfinished();
  const kept = adapter.peek();
  const cause =
    error.code === "device_lost" ? "The graphics card stopped responding" : "The program behind the page stopped";
  const what = kept
    ? `${cause}. Your text, your settings and the best adapter so far (step ${kept.step}) are kept`
    : `${cause}. Your text and your settings are kept`;
  const start = unfinished.peek() ? "Continue where it stopped" : "Train again from the start";
  const hint = kept ? `${start}, or try the adapter and download it below.` : `${start}.`;
  complain("train", { code: error.code, message: what, hint });
}

async function whenFree(act: (engine: Session) => Promise<void>) {
  const engine = await session();
  if (!engine || training.value || asked) return;
  asked = true;
  await alone(() => act(engine)).finally(() => {
    asked = false;
  });
}

/** A run that starts from an adapter takes over that adapter's shape. */
function startingFrom(wanted: Settings | null): Settings | null {
  const from = startFrom.value;
  if (!wanted || !from) return wanted;
  return { ...wanted, rank: from.rank, alpha: from.alpha, targets: from.targets.join(",") };
}

async function go(engine: Session, wanted: Settings, taken: Text, fresh: Run, saved?: SavedRun) {
  live = fresh;
  forgive("train");
  const before = { adapter: adapter.value, openedFrom: openedFrom.value };
  const init = startFrom.value;
  try {
    const dataset = await show(taken, wanted);
    // What the settings are by default depends on the text.
    if (saved) adopt(wanted);
    await engine.train(dataset, wanted, (event) => addEvent(fresh, event), keep, {
      ...(saved ? { resume: saved.state } : {}),
      ...(init && !saved ? { init: { config: init.config, weights: init.weights } } : {}),
      record: saved ?? record(wanted, taken),
      onSaved: (step) => {
        fresh.savedStep = step;
        redraw(fresh);
      },
      onUnsaved: ({ message }) => warnUnsaved(fresh, message),
    });
    fresh.stats = await engine.stats();
    if (fresh.outcome?.reason === "cancelled") {
      adapter.value = before.adapter;
      openedFrom.value = before.openedFrom;
    } else {
      if (fresh.step > 0) keep(await engine.adapter());
      startFrom.value = null;
    }
  } catch (error) {
    complainWhereItHelps(error as LoraError);
    if (!isLost(error as LoraError)) await giveBack(engine);
  }
  await lookForUnfinished();
  end(fresh);
}

function record(wanted: Settings, { name, prompt, documents }: Text): RunRecord {
  const info = model.value.state === "ready" ? model.value.info : { name: "", sha256: "" };
  return {
    id: crypto.randomUUID(),
    settings: wanted,
    text: { name, documents, ...(prompt ? { prompt } : {}) },
    model: { name: info.name, sha256: info.sha256 },
    ms: 0,
  };
}

function warnUnsaved(live: Run, reason: string) {
  if (live.warnings.some(({ code }) => code === "storage")) return;
  const message = `this run could not be saved (${reason}); it goes on, but if you close the tab it is lost`;
  live.warnings.push({ code: "storage", message });
  redraw(live);
}

function keep(files: AdapterFiles) {
  adapter.value = files;
  openedFrom.value = null;
  downloaded.value = false;
}

/** After a run that ended in an error, only the page has its best adapter: the engine gets it back. */
async function giveBack(engine: Session) {
  const kept = adapter.value;
  if (kept) await engine.setAdapter(kept.config, kept.weights).catch((error) => complain("keep", error));
}
