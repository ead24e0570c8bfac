/** Draws the losses: three lines, the level before training, and the best point. */

import { useLayoutEffect, useRef } from "preact/hooks";
import type { Run } from "../progress";
import { theme } from "../settings";
import { loss } from "../words";
import { annotate } from "./chart_marks";
import { bestOf } from "./curve";
import { type Drawing, plot } from "./plot";
import "./chart.css";

export function Chart({ run }: { run: Run }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef(run);
  latest.current = run;
  const shade = theme.value;
  // Before the next picture, because a page that is printed gets no other one.
  useLayoutEffect(() => {
    const draw = () => canvas.current && drawRun(canvas.current, latest.current);
    const watch = new ResizeObserver(draw);
    const palettes = ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print"].map((query) =>
      matchMedia(query),
    );
    if (canvas.current) watch.observe(canvas.current);
    for (const palette of palettes) palette.addEventListener("change", draw);
    return () => {
      watch.disconnect();
      for (const palette of palettes) palette.removeEventListener("change", draw);
    };
  }, []);
  useLayoutEffect(() => {
    if (canvas.current) drawRun(canvas.current, run);
  }, [run, shade]);
  return (
    <div class="chart" role="img" aria-label={described(run)}>
      <canvas ref={canvas} />
    </div>
  );
}

function drawRun(canvas: HTMLCanvasElement, run: Run) {
  const colour = colours(canvas);
  annotate(plot(canvas, drawing(run, colour)), run, colour);
}

function described(run: Run): string {
  const base = run.evals[0];
  const best = bestOf(run);
  const trained = run.smooth.at(-1);
  if (!base) {
    const start = "No held-out loss";
    return trained === undefined ? `${start}.` : `${start}; training loss ${loss(trained)} at step ${run.step}.`;
  }
  const start = `Held-out loss before training ${loss(base.loss)}`;
  return best ? `${start}, best ${loss(best.loss)} at step ${best.step}.` : `${start}.`;
}

function drawing(run: Run, colour: Colours): Drawing {
  const { steps, losses, smooth, evals, total } = run;
  const heldOut = [...evals].sort((a, b) => a.step - b.step);
  return {
    x: [0, total],
    y: span(run),
    label: "step",
    ink: colour.quiet,
    grid: colour.line,
    lines: [
      { x: steps, y: losses, stroke: colour.edge, width: 1 },
      { x: steps, y: smooth, stroke: colour.accent, width: 2.5 },
      {
        x: heldOut.map(({ step }) => step),
        y: heldOut.map(({ loss }) => loss),
        stroke: colour.warm,
        width: 2,
        dash: [6, 4],
        rings: colour.card,
      },
    ],
  };
}

/** The level before training always stays in sight, with room for its label. */
function span({ losses, evals }: Run): [number, number] {
  let [bottom, top] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const loss of [...losses, ...evals.map(({ loss }) => loss)]) {
    if (!Number.isFinite(loss)) continue;
    bottom = Math.min(bottom, loss);
    top = Math.max(top, loss);
  }
  const margin = Math.max(0.1, 0.12 * (top - bottom));
  return [bottom - margin, top + margin];
}

export type Colours = Record<"ink" | "quiet" | "line" | "edge" | "accent" | "warm" | "card", string>;

/** A canvas needs colours that are resolved, not custom properties. */
function colours(element: HTMLElement): Colours {
  const resolve = (name: string) => {
    element.style.color = `var(--${name})`;
    return getComputedStyle(element).color;
  };
  const names = ["ink", "quiet", "line", "edge", "accent", "warm", "card"] as const;
  const found = Object.fromEntries(names.map((name) => [name, resolve(name)])) as Colours;
  element.style.color = "";
  return found;
}
