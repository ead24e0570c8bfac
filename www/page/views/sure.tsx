/** A question before something is gone. */

import { useEffect, useRef } from "preact/hooks";

export function Sure({ question, act, done }: { question: string; act(): Promise<void>; done(): void }) {
  const no = useRef<HTMLButtonElement>(null);
  useEffect(() => no.current?.focus(), []);
  return (
    <div
      role="alertdialog"
      aria-label={question}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        done();
      }}
    >
      <p>
        <strong>{question}</strong>
      </p>
      <div class="buttons">
        <button type="button" class="small" ref={no} onClick={done}>
          Keep
        </button>
        <button type="button" class="small" onClick={() => act().then(done)}>
          Delete
        </button>
      </div>
    </div>
  );
}
