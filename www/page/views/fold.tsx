/** Something that opens on request. Escape closes it and gives the focus back. */

import type { ComponentChildren, TargetedKeyboardEvent } from "preact";

export function Fold({ title, children }: { title: ComponentChildren; children: ComponentChildren }) {
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
