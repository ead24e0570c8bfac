/** What the model writes along the way, always from the same beginning, or in answer to the same message, and seed. */

import type { Run } from "../progress";
import { Asked } from "./asked";
import "./timeline.css";

export function Timeline({ samples, isChat }: Pick<Run, "samples"> & { isChat: boolean }) {
  const [first] = samples;
  if (!first) return null;
  const start = first.prompt.split("\n").at(-1);
  return (
    <>
      <h3>What it writes along the way</h3>
      <p class="quiet">
        {isChat ? "Always in answer to the same message" : "Always from the same beginning"}, with the same random
        numbers.
      </p>
      {isChat && <Asked message={first.prompt} />}
      <ol class="timeline">
        {samples.map((sample) => (
          <li key={sample.step}>
            <span class="when">step {sample.step}</span>
            <p class="written">
              {!isChat && <span class="quiet">{start}</span>}
              {sample.text.trimEnd().replace(/\n+/g, "\n")}
            </p>
          </li>
        ))}
      </ol>
    </>
  );
}
