/** Says which setting keeps a run from starting, and leads to it. */

import { knobs } from "../knobs";
import { refusals } from "../settings";
import { toSetting } from "../trouble";
import "./unusable.css";

export function Unusable({ primary }: { primary: boolean }) {
  const first = knobs.find(({ key }) => key in refusals.value);
  if (!first) return null;
  return (
    <div class="note unusable" role="status">
      <p>
        The setting <strong>{first.label}</strong> cannot be used. {refusals.value[first.key]}
      </p>
      <button type="button" class={primary ? "primary" : ""} onClick={toSetting(first.key).press}>
        Change {first.label}
      </button>
    </div>
  );
}
