/** Says which settings of the address cannot be used and were set back. */

import { isKnob, isPageChoice, nameOf } from "../knobs";
import { reset, setBack, settings } from "../settings";
import { toSetting } from "../trouble";
import "./set_back.css";

/** Addresses can be long. */
const SHOWN = 40;

export function SetBack() {
  const all = setBack.value;
  if (all.length === 0) return null;
  const knob = all.map(({ key }) => key).find(isKnob);
  return (
    <div class="note set-back" role="status">
      {all.map(({ key, written, reason }) => (
        <p key={key}>
          <strong>{nameOf(key)?.label ?? shortened(key)}</strong> was{" "}
          {written === "" ? "empty" : <Quote words={written} />} in the address of this page. {reason} {standing(key)}
        </p>
      ))}
      <div class="buttons">
        {knob && (
          <button type="button" onClick={toSetting(knob).press}>
            {toSetting(knob).label}
          </button>
        )}
        <button type="button" onClick={() => reset(...all.map(({ key }) => key))}>
          Close
        </button>
      </div>
    </div>
  );
}

function Quote({ words }: { words: string }) {
  return (
    <q>
      <bdi>{shortened(words)}</bdi>
    </q>
  );
}

const shortened = (words: string) => (words.length > SHOWN ? `${words.slice(0, SHOWN)}…` : words);

/** What is used instead. */
function standing(key: string): string {
  const named = nameOf(key);
  if (!named) return "It is ignored.";
  const value = isPageChoice(named.key) ? "auto" : String(settings.value?.[named.key]);
  return `It is back at ${named.choices?.find((choice) => choice.value === value)?.label ?? value}.`;
}
