/** What the model writes along the way, always from the same beginning and seed. */

import { settings } from "../settings";
import "./timeline.css";

export function Timeline({ samples }: { samples: { step: number; text: string }[] }) {
  if (samples.length === 0) return null;
  const start = settings.value?.prompt.split("\n").at(-1);
  return (
    <>
      <h3>What it writes along the way</h3>
      <p class="quiet">Always from the same beginning, with the same random numbers.</p>
      <ol class="timeline">
        {samples.map((sample) => (
          <li key={sample.step}>
            <span class="when">step {sample.step}</span>
            <p class="written">
              <span class="quiet">{start}</span>
              {sample.text.trimEnd().replace(/\n+/g, "\n")}
            </p>
          </li>
        ))}
      </ol>
    </>
  );
}
