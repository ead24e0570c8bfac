/** The promise that nothing leaves the machine: a lock that the page cannot open again, and a count for all to see. */

import { signal } from "@preact/signals";

/** Requests since the page was ready. */
export const requests = signal(0);
/** Requests of the download worker, which the page's own count does not see. */
export const hubRequests = signal(0);
export const locked = signal(false);
/** From then on, a worker that the page makes from a script of its own is locked, too. */
export const whenLocked = new Promise<void>((resolve) => {
  locked.subscribe((now) => now && resolve());
});

/**
 * From here on, the browser refuses every connection that the page might open, except for scripts and icons from the
 * page's own address, which are counted; only a reload undoes that.
 */
export function lock() {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  // A browser that installs the page draws it with the icons of the manifest.
  policy.content = `connect-src 'none'; img-src data: ${new URL("icons/", document.baseURI)}`;
  document.head.append(policy);
  const since = performance.now();
  // Browsers fetch the manifest of a page when they have time for it, perhaps only now.
  const manifest = document.querySelector<HTMLLinkElement>("link[rel=manifest]")?.href;
  const counts = (entry: PerformanceEntry) => entry.startTime >= since && entry.name !== manifest;
  const watch = new PerformanceObserver((list) => {
    const sent = list.getEntries().filter(counts);
    requests.value += sent.length;
  });
  watch.observe({ type: "resource" });
  locked.value = true;
}
