/** The event log as a file: one JSON object per line, exactly as the engine emitted it. */

import type { Event } from "../api/types";
import { save } from "./save";

export function saveLog(events: Event[]) {
  const lines = events.map((event) => `${JSON.stringify(event)}\n`);
  save("tabtune-log.jsonl", new Blob(lines, { type: "application/jsonl" }));
}
