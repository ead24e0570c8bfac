/** Draws lines over steps on a canvas, with a grid and the numbers of both axes. */

import { count } from "../words";

export interface Line {
  x: number[];
  y: number[];
  stroke: string;
  width: number;
  dash?: number[];
  /** Every point is a ring too, filled with this colour. */
  rings?: string;
}

export interface Drawing {
  lines: Line[];
  /** The first and the last value of each axis. */
  x: Range;
  y: Range;
  /** What the values of x are. */
  label: string;
  /** The colours of the numbers and of the grid. */
  ink: string;
  grid: string;
}

type Range = [number, number];

/** What was drawn, for whoever draws over it. All lengths are in pixels of the canvas. */
export interface Plot {
  ctx: CanvasRenderingContext2D;
  /** Where the lines are. */
  bbox: { left: number; top: number; width: number; height: number };
  valToPos(value: number, axis: "x" | "y"): number;
}

/** Around the lines there is room for the names at their ends and for the numbers of the axes. */
const ROOM = { top: 16, right: 72, bottom: 52, left: 48 };
/** The numbers of an axis are at least so far from each other. */
const APART = { x: 50, y: 30 };
const FONT = 12;
const RING = 4;

export function plot(canvas: HTMLCanvasElement, drawing: Drawing): Plot {
  const dots = devicePixelRatio;
  canvas.width = Math.round(canvas.clientWidth * dots);
  canvas.height = Math.round(canvas.clientHeight * dots);
  const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
  const bbox = {
    left: ROOM.left * dots,
    top: ROOM.top * dots,
    width: Math.max(0, canvas.width - (ROOM.left + ROOM.right) * dots),
    height: Math.max(0, canvas.height - (ROOM.top + ROOM.bottom) * dots),
  };
  const valToPos = (value: number, axis: "x" | "y") => {
    const [first, last] = drawing[axis];
    const part = (value - first) / (last - first);
    return axis === "x" ? bbox.left + part * bbox.width : bbox.top + (1 - part) * bbox.height;
  };
  const drawn = { ctx, bbox, valToPos };
  drawAxes(drawn, drawing, dots);
  for (const line of drawing.lines) drawLine(drawn, line, dots);
  return drawn;
}

function drawAxes({ ctx, bbox, valToPos }: Plot, { x, y, label, ink, grid }: Drawing, dots: number) {
  const [right, bottom] = [bbox.left + bbox.width, bbox.top + bbox.height];
  ctx.font = `${FONT * dots}px system-ui, sans-serif`;
  ctx.fillStyle = ink;
  ctx.strokeStyle = grid;
  ctx.lineWidth = dots;
  ctx.textBaseline = "middle";
  ctx.beginPath();
  ctx.textAlign = "center";
  for (const { value, words } of marks(x, (APART.x * dots) / bbox.width, 1)) {
    const at = valToPos(value, "x");
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bottom);
    ctx.fillText(words, at, bottom + FONT * dots);
  }
  ctx.fillText(label, bbox.left + bbox.width / 2, bottom + 3 * FONT * dots);
  ctx.textAlign = "right";
  for (const { value, words } of marks(y, (APART.y * dots) / bbox.height, 0)) {
    const at = valToPos(value, "y");
    ctx.moveTo(bbox.left, at);
    ctx.lineTo(right, at);
    ctx.fillText(words, bbox.left - (FONT / 2) * dots, at);
  }
  ctx.stroke();
  ctx.textBaseline = "alphabetic";
}

function drawLine({ ctx, valToPos }: Plot, { x, y, stroke, width, dash = [], rings }: Line, dots: number) {
  const points = x.map((value, index) => [valToPos(value, "x"), valToPos(y[index] as number, "y")] as const);
  ctx.strokeStyle = stroke;
  ctx.lineWidth = width * dots;
  ctx.lineJoin = "round";
  ctx.setLineDash(dash.map((length) => length * dots));
  ctx.beginPath();
  for (const point of points) ctx.lineTo(...point);
  ctx.stroke();
  ctx.setLineDash([]);
  if (!rings) return;
  ctx.fillStyle = rings;
  ctx.lineWidth = 2 * dots;
  for (const point of points) {
    ctx.beginPath();
    ctx.arc(...point, RING * dots, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
  }
}

/** Round values within a range, at least `apart` of it from each other, and not less than `smallest`. */
function marks([first, last]: Range, apart: number, smallest: number): { value: number; words: string }[] {
  const least = Math.max(smallest, apart * (last - first));
  const power = 10 ** Math.floor(Math.log10(least));
  const distance = power * ([1, 2, 5].find((times) => times * power >= least) ?? 10);
  const digits = Math.max(0, -Math.floor(Math.log10(distance)));
  const values: number[] = [];
  for (let index = Math.ceil(first / distance); index * distance <= last; index++) values.push(index * distance);
  return values.map((value) => ({ value, words: digits > 0 ? value.toFixed(digits) : count(value) }));
}
