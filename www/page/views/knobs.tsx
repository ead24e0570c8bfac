/** The settings a visitor may change: what each does, when to change it, and a button to reset it. */

import { change, changes, type Knob, knobs, reset, settings } from "../settings";
import { training } from "../state";
import "./knobs.css";

export function Knobs() {
  return (
    <div class="knobs">
      {knobs.map((knob) => (
        <KnobRow key={knob.key} knob={knob} />
      ))}
    </div>
  );
}

function KnobRow({ knob }: { knob: Knob }) {
  const { key, label, unit, what, when } = knob;
  const help = `${key}-help`;
  return (
    <div class="knob">
      <label for={key}>
        {label} {unit && <span class="quiet">({unit})</span>}
      </label>
      <div class="knob-control">
        {knob.choices ? <Choice knob={knob} help={help} /> : <NumberBox knob={knob} help={help} />}
        <button
          type="button"
          class="small"
          disabled={changes.value[key] === undefined || training.value}
          aria-label={`Reset ${label}`}
          onClick={() => reset(key)}
        >
          Reset
        </button>
      </div>
      <p id={help} class="quiet">
        {what} <em>{when}</em>
      </p>
    </div>
  );
}

function NumberBox({ knob, help }: { knob: Knob; help: string }) {
  return (
    <input
      id={knob.key}
      type="number"
      step={knob.step}
      aria-describedby={help}
      disabled={training.value}
      value={String(settings.value?.[knob.key] ?? "")}
      onChange={(event) => change(knob.key, event.currentTarget.valueAsNumber)}
    />
  );
}

function Choice({ knob, help }: { knob: Knob; help: string }) {
  return (
    <select
      id={knob.key}
      aria-describedby={help}
      disabled={training.value}
      value={String(settings.value?.[knob.key])}
      onChange={(event) => change(knob.key, event.currentTarget.value)}
    >
      {knob.choices?.map((choice) => (
        <option key={choice.value} value={choice.value}>
          {choice.label}
        </option>
      ))}
    </select>
  );
}
