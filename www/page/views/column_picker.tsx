/** Asks which columns hold the text, below the error that says that their names are not known. */

import { useEffect, useId, useRef } from "preact/hooks";
import { type Choice, choice, hasColumns, unnamed } from "../columns";
import { accepted, training } from "../state";
import { reading, takeWithColumns } from "../text";
import "./column_picker.css";

export function ColumnPicker() {
  const question = useRef<HTMLLegendElement>(null);
  const refused = unnamed.value;
  useEffect(() => {
    // After a choice that did not help, the question is the same, and the focus stays.
    if (refused && !hasColumns(refused.source)) question.current?.focus();
  }, [refused]);
  if (!refused) return null;
  const { kind } = choice.value;
  return (
    <fieldset class="column-picker" onKeyDown={readOnEnter}>
      <legend ref={question} tabIndex={-1}>
        Which column holds the text?
      </legend>
      <Kind kind="text">One column holds all of it</Kind>
      {kind === "text" && <ColumnBox of="text" label="The text" />}
      {refused.names.length > 1 && <Kind kind="pair">One column holds what is asked, another one the answer</Kind>}
      {kind === "pair" && (
        <>
          <ColumnBox of="prompt" label="What is asked (prompt)" />
          <ColumnBox of="completion" label="The answer, which is learnt (completion)" />
        </>
      )}
      <button
        type="button"
        class={accepted.value ? "" : "primary"}
        disabled={reading.value !== null || training.value}
        onClick={takeWithColumns}
      >
        {kind === "text" ? "Read this column" : "Read these columns"}
      </button>
    </fieldset>
  );
}

/** Elsewhere on the page, Enter presses the primary button, which may be another one. */
function readOnEnter(event: KeyboardEvent) {
  if (event.key !== "Enter" || !(event.target instanceof HTMLInputElement)) return;
  event.stopPropagation();
  takeWithColumns();
}

function Kind({ kind, children }: { kind: Choice["kind"]; children: string }) {
  return (
    <label class="kind">
      <input
        type="radio"
        name="kind-of-columns"
        checked={choice.value.kind === kind}
        onChange={() => {
          choice.value = { ...choice.value, kind };
        }}
      />
      <span>{children}</span>
    </label>
  );
}

function ColumnBox({ of, label }: { of: "text" | "prompt" | "completion"; label: string }) {
  const id = useId();
  return (
    <div class="column-box">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={choice.value[of]}
        onChange={(event) => {
          choice.value = chosen(of, event.currentTarget.value);
        }}
      >
        {unnamed.value?.names.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </div>
  );
}

/** A column cannot be both prompt and completion: one that is wanted for the other changes places. */
function chosen(of: "text" | "prompt" | "completion", name: string): Choice {
  const before = choice.value;
  const other = of === "prompt" ? "completion" : "prompt";
  const swap = of !== "text" && before[other] === name ? { [other]: before[of] } : {};
  return { ...before, [of]: name, ...swap };
}
