/** What the model writes before and after, in two columns. */

import { after, before, type Column, strength } from "../compare";
import { adapter } from "../state";
import { percent, shortened } from "../words";
import { Asked } from "./asked";
import "./side_by_side.css";

export function SideBySide() {
  return (
    <div class="columns">
      <Written title="Before" quiet="the model as it was" column={before.value} />
      <Written title="After" quiet={tuned()} column={after.value} />
    </div>
  );
}

function tuned(): string {
  if (adapter.value?.method === "full") return "your model";
  return `with your adapter at ${percent(strength.value)}`;
}

function Written({ title, quiet, column }: { title: string; quiet: string; column: Column }) {
  const { asked, text, state } = column;
  const prompt = state === "failed" ? shortened(asked?.prompt ?? "") : asked?.prompt;
  const end = endWords(column);
  return (
    <section class="column" aria-busy={state === "writing"} aria-label={title}>
      <h3>
        {title} <span class="quiet">{quiet}</span>
      </h3>
      {asked?.asMessage && <Asked message={prompt ?? ""} />}
      <p class="written">
        {!asked?.asMessage && <span class="quiet">{prompt}</span>}
        {text}
        {state === "writing" && <span class="caret" aria-hidden="true" />}
      </p>
      {end && <p class="quiet">{end}</p>}
    </section>
  );
}

function endWords({ text, state }: Column): string | null {
  if (state === "failed") return text === "" ? "Nothing was written." : "The writing broke off here.";
  return state === "written" && text === "" ? "It ended here, without a word of its own." : null;
}
