/** What can be done with a run under way, and the question before a long one is cancelled. */

import { useEffect, useRef } from "preact/hooks";
import { type Run, ranFor } from "../progress";
import { asksToCancel, cancel, keepRunning, pause, resume, stop } from "../run";
import { adapter } from "../state";
import { duration, thing } from "../words";
import "./run_buttons.css";

export function RunButtons({ run }: { run: Run }) {
  const asks = asksToCancel.value;
  const cancelButton = useRef<HTMLButtonElement>(null);
  const asked = useRef(false);
  useEffect(() => {
    if (asked.current && !asks) cancelButton.current?.focus();
    asked.current = asks;
  }, [asks]);
  if (asks) return <Question run={run} />;
  return (
    <div class="buttons">
      {run.paused ? (
        <button type="button" class="primary" onClick={resume}>
          Resume
        </button>
      ) : (
        <button type="button" onClick={pause}>
          Pause
        </button>
      )}
      <button type="button" onClick={() => stop(true)}>
        Stop and keep
      </button>
      <button type="button" class="plain" ref={cancelButton} onClick={cancel}>
        Cancel
      </button>
    </div>
  );
}

function Question({ run }: { run: Run }) {
  const keep = useRef<HTMLButtonElement>(null);
  useEffect(() => keep.current?.focus(), []);
  return (
    <div class="cancel-question" role="alertdialog" aria-labelledby="cancel-title" aria-describedby="cancel-words">
      <p>
        <strong id="cancel-title">Throw this run away?</strong>{" "}
        <span id="cancel-words">
          {duration(ranFor(run))} of work would be gone. “Stop and keep” ends a run too, and keeps the best so far.
        </span>
      </p>
      <div class="buttons">
        <button type="button" class="primary" ref={keep} onClick={keepRunning}>
          Keep the run
        </button>
        <button type="button" onClick={() => stop(false)}>
          Throw it away
        </button>
      </div>
    </div>
  );
}

/** What a cancelled run leaves on the screen. */
export function Cancelled() {
  const words = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    // A card that opens now takes the focus first.
    const timer = setTimeout(() => words.current?.focus());
    return () => clearTimeout(timer);
  }, []);
  return (
    <p ref={words} tabIndex={-1}>
      <strong>Cancelled: nothing of this run is kept.</strong>{" "}
      {adapter.value
        ? `Your earlier ${thing(adapter.value)} is still here, below.`
        : "Your text and your settings stay as they are."}
    </p>
  );
}
