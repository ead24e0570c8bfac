/** Reads what was written for a setting, and says in a sentence why it cannot be used. The limits are the engine's. */

import type { Limit, Limits } from "../api/types";
import { nameOf } from "./knobs";

export type Value = number | string | boolean;

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
/** Larger and smaller numbers are written with an exponent. */
const LARGE = 1e16;
const SMALL = 1e-6;

const MOST_WHY: Record<string, string> = {
  seqLen: ", the most that this model sees at once",
  rank: ", the most that the layers that learn have room for",
};

/** Settings that are true or false. */
const FLAGS = ["shuffle", "lean", "checkpointing", "packing"];

export function read(key: string, written: string): Value {
  if (FLAGS.includes(key)) return written === "true";
  return nameOf(key)?.choices ? written : number(written);
}

/** Null if it can be used, with the layers that learn being `targets`. */
export function refusal(key: string, written: string, limits: Limits, targets: string): string | null {
  const choices = nameOf(key)?.choices?.map(({ value }) => value);
  if (key === "hub") return isChoice(key, written) ? null : "It must begin with https://.";
  if (key === "targets") return areTargets(written, limits) ? null : `It must be ${oneOf(Object.keys(limits.ranks))}.`;
  if (choices) return isChoice(key, written) ? null : `It must be ${oneOf(choices)}.`;
  const limit = limitOf(key, limits, targets);
  if (!limit) return "This page knows no such setting.";
  if (allows(limit, number(written))) return null;
  const must = `must be ${words(limit)}${MOST_WHY[key] ?? ""}.`;
  if (written.trim() === "") return `There is no number here. It ${must}`;
  return `It ${must}${written.includes(",") ? " Write 0.5 with a point." : ""}`;
}

export const isChoice = (key: string, written: string): boolean =>
  key === "hub" ? isHub(written) : (nameOf(key)?.choices?.some(({ value }) => value === written) ?? false);

/** Over plain http, only on this machine. */
const isHub = (address: string) =>
  URL.canParse(address) && /^https:|^http:\/\/(localhost|127\.0\.0\.1)\b/.test(address);

export function limitOf(key: string, limits: Limits, targets: string): Limit | undefined {
  if (key === "rank") return { whole: true, from: 1, to: mostRank(targets, limits) };
  return Object.hasOwn(limits, key) && key !== "ranks" ? limits[key as Exclude<keyof Limits, "ranks">] : undefined;
}

/** NaN for what is no number. Commas may group thousands: "1,000". */
function number(written: string): number {
  const ungrouped = /^\d{1,3}(,\d{3})+$/.test(written) ? written.replaceAll(",", "") : written;
  return ungrouped.trim() === "" ? Number.NaN : Number(ungrouped);
}

function allows({ whole, from, above, to, below }: Limit, value: number): boolean {
  return (
    Number.isFinite(value) &&
    !(whole && !Number.isInteger(value)) &&
    !(from !== undefined && value < from) &&
    !(above !== undefined && value <= above) &&
    !(to !== undefined && value > to) &&
    !(below !== undefined && value >= below)
  );
}

function words({ whole, from, above, to, below }: Limit): string {
  const kind = whole ? "a whole number" : "a number";
  if (from !== undefined && to !== undefined) return `${kind} from ${shown(from)} to ${shown(to)}`;
  const bounds = [
    from !== undefined && `at least ${shown(from)}`,
    above !== undefined && `more than ${shown(above)}`,
    to !== undefined && `at most ${shown(to)}`,
    below !== undefined && `less than ${shown(below)}`,
  ];
  return `${kind}, ${bounds.filter(Boolean).join(" and ")}`;
}

function shown(n: number): string {
  const size = Math.abs(n);
  return size > LARGE || (size > 0 && size < SMALL) ? n.toExponential().replace("+", "") : plain.format(n);
}

const namesIn = (targets: string) => targets.split(",").map((name) => name.trim());

/** One of the two choices, or names of linears. */
function areTargets(written: string, { ranks }: Limits): boolean {
  const isLinear = (name: string) => Object.hasOwn(ranks, name) && !isChoice("targets", name);
  return isChoice("targets", written) || namesIn(written).every(isLinear);
}

const mostRank = (targets: string, { ranks }: Limits) => Math.min(...namesIn(targets).map((name) => ranks[name] ?? 1));

function oneOf(all: string[]): string {
  const last = all.at(-1);
  return all.length > 1 ? `${all.slice(0, -1).join(", ")} or ${last}` : String(last);
}
