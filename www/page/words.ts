/** How numbers and sentences are written on the page. */

import { count, thin } from "../api/amounts";
import type { KeptFiles } from "../api/types";

export { bytes, count, counted, thin } from "../api/amounts";

/** The page is in English, whatever the language of the browser, which need not even be a valid one. */
const LANGUAGE = "en";

const calendar = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });
const short = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumSignificantDigits: 2 });

/** "Nov 27, 2026, 7:40 PM". */
export const moment = (ms: number): string => calendar.format(ms);

/** Of a number that is stored so: "16" for f16. */
export const bits = (format: string): string => format.replace(/\D/g, "");

/** "1.2 of 10.3 MB". */
export const megabytes = (done: number, total: number): string =>
  `${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`;

/** "2.2 M", "104 k". */
export const parameters = (n: number): string => (n < 1e5 ? short.format(n).replace("K", " k") : `${thin(n / 1e6)} M`);

/** "1,200": a number that changes all the time. */
export const roughly = (n: number): string => count(Number(n.toPrecision(2)));

export const loss = (n: number): string => n.toFixed(2);

/** "38 s", "4 min": rounded the way people say it. */
export function duration(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 20) return `${seconds} s`;
  if (seconds < 100) return `${Math.round(seconds / 5) * 5} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${thin(minutes / 60)} hours`;
}

/** "38 s", "4 min 12 s": not rounded further. */
export function exactDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 100 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

export const percent = (part: number): string => `${Math.round(100 * part)} %`;

/** What a run leaves, in a word. */
export const thing = (kept: KeptFiles | null): string => (kept?.method === "full" ? "model" : "adapter");

/** The beginning of a text that may be long. */
export function shortened(text: string, most = 100): string {
  const characters = [...text];
  return characters.length > most ? `${characters.slice(0, most).join("")}…` : text;
}

/** An error's message as a sentence. A name such as config.json at its start stays as it is. */
export function sentence(message: string): string {
  const start = /^\w+\.\w/.test(message) ? message : message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}
