/**
 * What happens when the engine is gone in the middle of a run. If the graphics card was lost, the run goes on by itself
 * from what was saved of it: a few times on the card, then on the processor.
 */

import type { LoraError } from "../api/errors";
import { computeOn } from "./engine";
import { continueRun, ended, lastId, train } from "./run";
import { adapter, model, run, training } from "./state";
import { complain, forgive, type Trouble } from "./trouble";
import { forget, lookForUnfinished, type Unfinished, unfinished } from "./unfinished";
import { count, thing } from "./words";

/** How often a run goes on on the card. */
const RETURNS = 3;
/** The run whose card was lost last, and how often. */
let lost = { id: "", times: 0 };

export async function handleLoss(error: LoraError) {
  const lostCard = error.code === "device_lost" && usesCard();
  const wasTraining = training.peek();
  await ended();
  if (wasTraining) await lookForUnfinished();
  const ending = wasTraining ? run.peek()?.ending : null;
  if (ending?.keep === false && savedOfLast()) await forget();
  const saved = savedOfLast();
  if (lostCard && wasTraining && saved && !ending) return goOn(saved);
  explain(error, lostCard, saved);
}

/** What is stored of the run that was begun last: the storage may still hold an earlier one. */
function savedOfLast(): Unfinished | null {
  const found = unfinished.peek();
  return found?.id === lastId ? found : null;
}

function usesCard(): boolean {
  const now = model.peek();
  return now.state === "ready" && now.info.device.kind === "gpu";
}

async function goOn({ id, step }: Unfinished) {
  lost = { id, times: lost.id === id ? lost.times + 1 : 1 };
  const { times } = lost;
  const gone = "the graphics card stopped responding";
  const message =
    times > RETURNS
      ? `${gone} ${times} times, so the processor goes on from step ${count(step)}`
      : `${gone}; the run goes on from step ${count(step)} by itself (${times} of ${RETURNS} times)`;
  if (times > RETURNS) await computeOn("cpu");
  await continueRun({ code: "device_lost", message });
}

/** Only the steps since the kept adapter was made are gone. */
function explain(error: LoraError, lostCard: boolean, saved: Unfinished | null) {
  const kept = adapter.peek();
  const cause = lostCard ? "The graphics card stopped responding" : "The program behind the page stopped";
  const what = kept
    ? `${cause}. Your text, your settings and the best ${thing(kept)} so far (step ${kept.step}) are kept`
    : `${cause}. Your text and your settings are kept`;
  const start = saved ? "Continue where it stopped" : "Train again from the start";
  const hint = kept ? `${start}, or try the ${thing(kept)} and download it below.` : `${start}.`;
  complain("train", { code: error.code, message: what, hint }, lostCard ? withoutCard(saved) : undefined);
}

/** A button that goes on with what was lost together with the graphics card. */
function withoutCard(saved: Unfinished | null): Trouble["button"] {
  const [verb, act] = saved ? (["Continue", continueRun] as const) : (["Train", train] as const);
  const press = async () => {
    forgive("train");
    await computeOn("cpu");
    await act();
  };
  return { label: `${verb} on the processor`, press };
}
