/** How the model's numbers are stored while it is in use: a choice that starts the model again. */

import { useState } from "preact/hooks";
import type { WeightsChoice } from "../../api/types";
import { storeAs } from "../engine";
import { nameOf } from "../knobs";
import { changingModel } from "../pick";
import { settings, weights } from "../settings";
import { text, training } from "../state";

export function Stored() {
  const [busy, setBusy] = useState(false);
  const { label, choices = [] } = nameOf("weights") ?? {};
  const take = async (wanted: WeightsChoice) => {
    setBusy(true);
    await storeAs(wanted);
    if (text.value) text.value = { ...text.value, dataset: null };
    setBusy(false);
  };
  return (
    <div class="knob">
      <label for="weights">{label}</label>
      <div class="knob-control">
        <select
          id="weights"
          aria-describedby="weights-help"
          disabled={busy || training.value || changingModel.value}
          value={weights.value}
          onChange={(event) => take(event.currentTarget.value as WeightsChoice)}
        >
          {choices.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {choice.label}
            </option>
          ))}
        </select>
      </div>
      <p id="weights-help" class="quiet">
        Fewer bits take less memory.{" "}
        {settings.value?.method === "full"
          ? "The layers learn in 32, starting from the numbers as they are kept here."
          : "The adapter itself always learns in 32."}{" "}
        <em>With 8, hardly anything changes; with 4, the model loses a little of what it knows.</em>
      </p>
    </div>
  );
}
