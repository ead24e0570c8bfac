/** Which text is being read, or what it waits for. */

import { arrival } from "../arrival";
import { reading } from "../text";

export function Reading() {
  const name = reading.value;
  const waits = arrival.value !== null;
  return (
    <p class="quiet">
      <span aria-live="polite">{name && (waits ? `${name} waits for the model` : `Reading ${name}…`)}</span>
      {name && waits && `: ${arrival.value}.`}
    </p>
  );
}
