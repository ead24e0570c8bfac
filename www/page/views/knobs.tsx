/** The settings a visitor may change: what each does, when to change it, and a button to reset it. */

import type { TargetedEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Knob, knobsOf } from "../knobs";
import { boxOf, change, reset, settings } from "../settings";
import { training } from "../state";
import { goal } from "../trouble";
import "./knobs.css";

export function Knobs() {
  return (
    <div class="knobs">
      {knobsOf(settings.value).map((knob) => (
        <KnobRow key={knob.key} knob={knob} />
      ))}
    </div>
  );
}

function KnobRow({ knob }: { knob: Knob }) {
  const { key, label, unit, what, when } = knob;
  const { changed, refused } = boxOf(key);
  const help = `${key}-help`;
  const row = useRef<HTMLDivElement>(null);
  const isGoal = goal.value === key;
  useEffect(() => {
    if (isGoal && row.current) goTo(row.current);
  }, [isGoal]);
  return (
    <div class="knob" ref={row}>
      <label for={key}>
        {label} {unit && <span class="quiet">({unit})</span>}
      </label>
      <div class="knob-control">
        {knob.choices ? <Choice knob={knob} help={help} /> : <NumberBox knob={knob} help={help} />}
        <button
          type="button"
          class="small"
          disabled={!changed || training.value}
          aria-label={`Reset ${label}`}
          onClick={() => reset(key)}
        >
          Reset
        </button>
      </div>
      {refused && (
        <p id={`${key}-refused`} class="refused" role="alert">
          {refused}
        </p>
      )}
      <p id={help} class="quiet">
        {what} <em>{when}</em>
      </p>
    </div>
  );
}

/** Unfolds what holds a setting, and focuses its box once the card that opened for it has focused its title. */
function goTo(row: HTMLElement) {
  goal.value = null;
  row.closest("details")?.setAttribute("open", "");
  queueMicrotask(() => row.querySelector<HTMLElement>("input, select")?.focus());
}

/**
 * Judged when it is left, and once it was refused, with every key. While it has the focus, nothing but the visitor
 * changes what stands in it: a default that follows from other settings may arrive a moment later.
 */
function NumberBox({ knob, help }: { knob: Knob; help: string }) {
  const { key } = knob;
  const { written, refused, limit } = boxOf(key);
  const [own, setOwn] = useState<string | null>(null);
  const hold = (event: TargetedEvent<HTMLInputElement>) => setOwn(event.currentTarget.value);
  const take = (event: TargetedEvent<HTMLInputElement>) => {
    hold(event);
    change(key, event.currentTarget.value);
  };
  return (
    <input
      id={key}
      type="number"
      min={limit?.from ?? limit?.above}
      max={limit?.to ?? limit?.below}
      step={limit?.whole ? 1 : "any"}
      aria-invalid={refused !== undefined}
      aria-describedby={refused === undefined ? help : `${key}-refused ${help}`}
      disabled={training.value}
      value={own ?? written}
      onFocus={hold}
      onInput={refused === undefined ? hold : take}
      onChange={take}
      onBlur={() => setOwn(null)}
    />
  );
}

function Choice({ knob, help }: { knob: Knob; help: string }) {
  const now = String(settings.value?.[knob.key]);
  const choices = knob.choices ?? [];
  // Names of single layers, from the address.
  const named = choices.some(({ value }) => value === now) ? [] : [{ value: now, label: now }];
  return (
    <select
      id={knob.key}
      aria-describedby={help}
      disabled={training.value}
      value={now}
      onChange={(event) => change(knob.key, event.currentTarget.value)}
    >
      {[...choices, ...named].map((choice) => (
        <option key={choice.value} value={choice.value}>
          {choice.label}
        </option>
      ))}
    </select>
  );
}
