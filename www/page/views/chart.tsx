/** Draws the losses with uPlot: three lines, the level before training, and the best point. */

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Run } from "../progress";
import { theme } from "../settings";
import { loss } from "../words";
import { annotate } from "./chart_marks";
import { bestOf } from "./curve";
import "./chart.css";

/** Room on the right for the names at the ends of the lines. */
const ROOM_FOR_NAMES = 72;

export function Chart({ run }: { run: Run }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const latest = useRef(run);
  latest.current = run;
  const shade = theme.value;
  // Before the next picture, because a page that is printed gets no other one.
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, latest), columns(latest.current), element);
    };
    const watch = new ResizeObserver(() => plot.current?.setSize(size(element)));
    const palettes = ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print"].map((query) =>
      matchMedia(query),
    );
    draw();
    watch.observe(element);
    for (const palette of palettes) palette.addEventListener("change", draw);
    return () => {
      watch.disconnect();
      for (const palette of palettes) palette.removeEventListener("change", draw);
      plot.current?.destroy();
    };
  }, [shade]);
  useEffect(() => plot.current?.setData(columns(run)), [run]);
  return <div class="chart" ref={place} role="img" aria-label={described(run)} />;
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

/** The stylesheet says how high a chart is. */
function size(element: HTMLElement) {
  return { width: element.clientWidth, height: Number.parseFloat(getComputedStyle(element).minHeight) };
}

function columns(run: Run): uPlot.AlignedData {
  const heldOut = new Map(run.evals.map(({ step, loss }) => [step, loss]));
  const steps = [0, ...run.steps];
  return [steps, [null, ...run.losses], [null, ...run.smooth], steps.map((step) => heldOut.get(step) ?? null)];
}

function options(element: HTMLElement, latest: { current: Run }): uPlot.Options {
  const colour = colours(element);
  const axis = { stroke: colour.quiet, grid: { stroke: colour.line, width: 1 }, ticks: { show: false } };
  return {
    ...size(element),
    padding: [16, ROOM_FOR_NAMES, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: () => [0, latest.current.total] },
      y: { range: (_, low, high) => span(low, high, latest.current) },
    },
    axes: [
      { ...axis, incrs: WHOLE, label: "step", labelSize: 20, size: 32, font: FONT, labelFont: FONT },
      { ...axis, size: 48, font: FONT },
    ],
    series: [
      {},
      { stroke: colour.edge, width: 1, points: { show: false } },
      { stroke: colour.accent, width: 2.5, points: { show: false } },
      {
        stroke: colour.warm,
        width: 2,
        dash: [6, 4],
        spanGaps: true,
        points: { show: true, size: 8, width: 2, stroke: colour.warm, fill: colour.card },
      },
    ],
    hooks: { draw: [(plot) => annotate(plot, latest.current, colour)] },
  };
}

/** Possible distances between the marks of the step axis. */
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000];

const FONT = "12px system-ui, sans-serif";

/** The level before training always stays in sight, with room for its label. */
function span(low: number, high: number, { evals }: Run): [number, number] {
  const base = evals[0]?.loss ?? high;
  const top = Math.max(high, base);
  const bottom = Math.min(low, base);
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
