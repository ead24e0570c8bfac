/** Tells a visitor who asked for it, and does not see the page, that a run has ended. */

import { effect, signal } from "@preact/signals";
import { shortEnding } from "./outcome";
import { run, training } from "./state";

/** Whether the visitor wants to be told, or why that is not possible. */
export const telling = signal<"no" | "asking" | "yes" | "dismissed" | "denied" | "unsupported">("no");

export async function tell(wanted: boolean) {
  if (!wanted) {
    telling.value = "no";
    return;
  }
  telling.value = "asking";
  telling.value = await answer();
}

export function keepTelling() {
  let before = training.peek();
  effect(() => {
    const ended = before && !training.value;
    before = training.value;
    const now = run.peek();
    if (!ended || !now || telling.peek() !== "yes" || document.visibilityState === "visible") return;
    const words = shortEnding(now);
    if (words) show(words);
  });
}

/** The first notification shows that the system lets them through: some browsers allow them and cannot show them. */
async function answer() {
  if (!("Notification" in window)) return "unsupported";
  const permission = await Notification.requestPermission();
  if (permission !== "granted") return permission === "denied" ? "denied" : "dismissed";
  try {
    show("You will be told here when the run has ended.");
    return "yes";
  } catch {
    return "unsupported";
  }
}

function show(body: string) {
  const notification = new Notification("tabtune", { body });
  notification.onclick = () => {
    window.focus();
    notification.close();
  };
}
