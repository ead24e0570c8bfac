/** Something that opens on request. Escape closes it and returns the focus. */

import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useEffect, useRef } from "preact/hooks";
import "./fold.css";

interface Props {
  title: ComponentChildren;
  /** It opens when this becomes true, and closes only by hand. */
  opens?: boolean;
  children: ComponentChildren;
}

export function Fold({ title, opens = false, children }: Props) {
  const fold = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    if (opens && fold.current) fold.current.open = true;
  }, [opens]);
  return (
    <details ref={fold} onKeyDown={closeOnEscape}>
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
