/** Something that opens on request. Escape closes it and returns the focus. */

import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import "./fold.css";

interface Props {
  title: ComponentChildren;
  children: ComponentChildren;
}

export function Fold({ title, children }: Props) {
  return (
    <details onKeyDown={closeOnEscape}>
      <summary>{title}</summary>
      <div class="folded">{children}</div>
    </details>
  );
}

function closeOnEscape(event: TargetedKeyboardEvent<HTMLDetailsElement>) {
  const fold = event.currentTarget;
  if (event.key !== "Escape" || !fold.open) return;
  event.preventDefault();
  event.stopPropagation();
  fold.open = false;
  fold.querySelector("summary")?.focus();
}
