/** uPlot behind a component: three lines, the level before training, and the best point. */

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Run } from "../run";
import { theme } from "../settings";
import { loss } from "../words";
import { bestOf } from "./curve";

const HEIGHT = 280;

export function Chart({ run }: { run: Run }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const latest = useRef(run);
  latest.current = run;
  const shade = theme.value;
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, latest), columns(latest.current), element);
    };
    const watch = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    const system = matchMedia("(prefers-color-scheme: dark)");
    draw();
    watch.observe(element);
    system.addEventListener("change", draw);
    return () => {
      watch.disconnect();
      system.removeEventListener("change", draw);
      plot.current?.destroy();
    };
  }, [shade]);
  useEffect(() => plot.current?.setData(columns(run)), [run]);
  return <div class="chart" ref={place} role="img" aria-label={described(run)} />;
}

function described(run: Run): string {
  const base = run.evals[0];
  const best = bestOf(run);
  const start = base ? `Held-out loss before training ${loss(base.loss)}` : "No held-out rows";
  return best ? `${start}, best ${loss(best.loss)} at step ${best.step}.` : `${start}.`;
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
    width: element.clientWidth,
    height: HEIGHT,
    padding: [16, 12, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: () => [0, latest.current.total] },
      y: { range: (_, low, high) => span(low, high, latest.current) },
    },
    axes: [
      { ...axis, label: "step", labelSize: 20, size: 32, font: FONT, labelFont: FONT },
      { ...axis, size: 44, font: FONT, values: (_, ticks) => ticks.map((tick) => tick.toFixed(1)) },
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

const FONT = "12px system-ui, sans-serif";

/** The level before training always stays in sight, with room for the words at it. */
function span(low: number, high: number, { evals }: Run): [number, number] {
  const base = evals[0]?.loss ?? high;
  const top = Math.max(high, base);
  const bottom = Math.min(low, base);
  const margin = Math.max(0.1, 0.12 * (top - bottom));
  return [bottom - margin, top + margin];
}

function annotate(plot: uPlot, run: Run, colour: Colours) {
  const { ctx } = plot;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.font = `600 ${12 * scale}px system-ui, sans-serif`;
  ctx.lineWidth = 1.5 * scale;
  const base = run.evals[0];
  if (base) {
    const y = plot.valToPos(base.loss, "y", true);
    ctx.strokeStyle = colour.ink;
    ctx.setLineDash([2 * scale, 3 * scale]);
    ctx.beginPath();
    ctx.moveTo(plot.bbox.left, y);
    ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    write(plot, `before training ${loss(base.loss)}`, plot.bbox.left + plot.bbox.width, y - 6 * scale, colour.ink);
  }
  const best = bestOf(run);
  if (best) {
    const x = plot.valToPos(best.step, "x", true);
    const y = plot.valToPos(best.loss, "y", true);
    ctx.strokeStyle = colour.warm;
    ctx.beginPath();
    ctx.arc(x, y, 9 * scale, 0, 2 * Math.PI);
    ctx.stroke();
    write(plot, `best ${loss(best.loss)}`, x + 12 * scale, y + 22 * scale, colour.warm);
  }
  ctx.restore();
}

/** Words that end at `right`, or begin at the left edge where there is no room. */
function write(plot: uPlot, words: string, right: number, y: number, colour: string) {
  const { ctx, bbox } = plot;
  ctx.fillStyle = colour;
  ctx.textAlign = "left";
  const width = ctx.measureText(words).width;
  ctx.fillText(words, Math.max(bbox.left + 4, Math.min(right, bbox.left + bbox.width) - width), y);
}

type Colours = Record<"ink" | "quiet" | "line" | "edge" | "accent" | "warm" | "card", string>;

/** A canvas needs the colours as the theme has resolved them. */
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
