/** What no code caught is shown to the visitor, too. */

import { LoraError } from "../api/errors";
import { complain } from "./trouble";

export function keepReporting() {
  window.addEventListener("error", ({ error }) => report(error));
  window.addEventListener("unhandledrejection", ({ reason }) => report(reason));
}

function report(error: unknown) {
  // Browsers report without an error what is no fault of the page: a late ResizeObserver, a script of an extension.
  if (!error) return;
  const message = error instanceof Error ? error.message : String(error);
  const shown =
    error instanceof LoraError
      ? error
      : new LoraError(
          "unforeseen",
          `something on this page went wrong: ${message}`,
          "What you see may be incomplete. Save what you want to keep, then reload the page.",
        );
  complain("page", shown);
}
