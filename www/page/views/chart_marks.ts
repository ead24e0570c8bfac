/** What is drawn over the chart: the level before training, the best point, the names of the lines. */

import type { Run } from "../progress";
import { loss } from "../words";
import type { Colours } from "./chart";
import { bestOf } from "./curve";
import type { Plot } from "./plot";

export function annotate(plot: Plot, run: Run, colour: Colours) {
  const [base] = run.evals;
  const best = bestOf(run);
  plot.ctx.save();
  plot.ctx.font = `600 ${12 * devicePixelRatio}px system-ui, sans-serif`;
  if (base) drawBase(plot, base.loss, colour);
  if (best) drawBest(plot, best, (run.smooth.at(-1) ?? 0) > best.loss, colour);
  nameEnds(plot, run, colour);
  plot.ctx.restore();
}

function drawBase(plot: Plot, level: number, colour: Colours) {
  const { ctx, bbox } = plot;
  const y = plot.valToPos(level, "y");
  ctx.strokeStyle = colour.ink;
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.setLineDash([]);
  write(
    plot,
    `before training ${loss(level)}`,
    bbox.left + bbox.width,
    y - 7 * devicePixelRatio,
    "right",
    colour.ink,
    colour,
  );
}

/** The label goes to the side away from the name of the training line. */
function drawBest(plot: Plot, best: { step: number; loss: number }, below: boolean, colour: Colours) {
  const { ctx, bbox } = plot;
  const words = `best ${loss(best.loss)}`;
  const x = plot.valToPos(best.step, "x");
  const y = plot.valToPos(best.loss, "y");
  ctx.strokeStyle = colour.warm;
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.beginPath();
  ctx.arc(x, y, 9 * devicePixelRatio, 0, 2 * Math.PI);
  ctx.stroke();
  write(
    plot,
    words,
    Math.max(x, bbox.left + ctx.measureText(words).width / 2 + 4),
    y + (below ? 26 : -14) * devicePixelRatio,
    "center",
    colour.warm,
    colour,
  );
}

/** Each line has its name at its end; names that would touch are pushed apart. */
function nameEnds(plot: Plot, run: Run, colour: Colours) {
  const trained = run.smooth.at(-1);
  const heldOut = run.evals.at(-1);
  const gap = 8 * devicePixelRatio;
  const ends = [
    { name: "training", step: run.step, at: trained, ink: colour.accent },
    { name: "held-out", step: heldOut?.step ?? 0, at: heldOut?.loss, ink: colour.warm },
  ].flatMap(({ at, step, ...end }) =>
    at === undefined || step === 0 ? [] : [{ ...end, x: plot.valToPos(step, "x"), y: plot.valToPos(at, "y") }],
  );
  const [first, second] = ends.sort((a, b) => a.y - b.y);
  if (first && second && second.y - first.y < 2 * gap) {
    const middle = (first.y + second.y) / 2;
    first.y = middle - gap;
    second.y = middle + gap;
  }
  for (const { name, x, y, ink } of ends) write(plot, name, x + 1.5 * gap, y + gap / 2, "left", ink, colour);
}

/** Words with an outline in the card's colour, so that a line behind them does not cross them out. */
function write(
  { ctx }: Plot,
  words: string,
  x: number,
  y: number,
  align: CanvasTextAlign,
  ink: string,
  colour: Colours,
) {
  ctx.textAlign = align;
  ctx.lineJoin = "round";
  ctx.lineWidth = 4 * devicePixelRatio;
  ctx.strokeStyle = colour.card;
  ctx.strokeText(words, x, y);
  ctx.fillStyle = ink;
  ctx.fillText(words, x, y);
}
