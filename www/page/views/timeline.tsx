/** What the model writes on the way, always from the same start and seed. */

import { settings } from "../settings";

export function Timeline({ samples }: { samples: { step: number; text: string }[] }) {
  if (samples.length === 0) return null;
  return (
    <>
      <h3>What it writes on the way</h3>
      <p class="quiet">Always from the same start, “{settings.value?.prompt}”, with the same dice.</p>
      <ol class="timeline">
        {samples.map((sample) => (
          <li key={sample.step}>
            <span class="when">{sample.step === 0 ? "before" : `step ${sample.step}`}</span>
            <p class="written">{sample.text.trimStart()}</p>
          </li>
        ))}
      </ol>
    </>
  );
}
