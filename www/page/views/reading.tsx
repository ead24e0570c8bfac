/** Which text is being read, or what it waits for, and that the text on show is not yet the one that was chosen. */

import { arrival } from "../arrival";
import { text } from "../state";
import { reading } from "../text";

export function Reading() {
  const name = reading.value;
  const waits = arrival.value !== null;
  const before = text.value && ` It will take the place of ${text.value.name}.`;
  return (
    <p class="quiet reading" aria-live="polite">
      {name !== null && (
        <>
          {waits ? `${name} waits for the model` : `Reading ${name}…`}
          {waits && <span aria-live="off">: {arrival.value}.</span>}
          {before}
        </>
      )}
    </p>
  );
}
