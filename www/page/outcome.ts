/** How a run ended, in words: the same on the page, in the title and in a notification. */

import type { Run } from "./progress";
import { counted, exactDuration, percent } from "./words";

/** "150 steps in 38 s; 23 % less surprised by your text". */
export function ending(run: Run): string {
  const learnt = gain(run);
  const words = learnt ? `; ${learnt} by your text` : run.outcome?.baseLoss === null ? "; no held-out loss" : "";
  return `${counted(run.step, "step")} in ${exactDuration(run.ms)}${words}`;
}

/** "Done: 23 % less surprised". Null while it runs, and for a run that was cancelled. */
export function shortEnding(run: Run): string | null {
  if (run.state !== "ended" || run.outcome?.reason === "cancelled") return null;
  if (!run.outcome || run.outcome.reason === "non_finite") return "Stopped by an error";
  return `Done: ${gain(run) ?? counted(run.step, "step")}`;
}

function gain({ outcome }: Run): string | null {
  const { baseLoss, bestLoss } = outcome ?? {};
  if (!baseLoss || !bestLoss || bestLoss >= baseLoss) return null;
  return `${percent((baseLoss - bestLoss) / baseLoss)} less surprised`;
}
