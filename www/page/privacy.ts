/** The promise that nothing leaves the machine: a lock that the page cannot open again, and a count for all to see. */

import { signal } from "@preact/signals";

/** Requests since the page was ready. */
export const requests = signal(0);
export const locked = signal(false);

/** From here on, the browser refuses every connection that the page might open; only a reload undoes that. */
export function lock() {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = "connect-src 'none'";
  document.head.append(policy);
  const since = performance.now();
  // Browsers fetch the icon and the manifest of a page when they have time for it, perhaps only now.
  const links = Array.from(document.querySelectorAll("link"), ({ href }) => href);
  const counts = (entry: PerformanceEntry) =>
    entry.startTime >= since && !fromCache(entry) && !links.includes(entry.name);
  const watch = new PerformanceObserver((list) => {
    const sent = list.getEntries().filter(counts);
    requests.value += sent.length;
  });
  watch.observe({ type: "resource" });
  locked.value = true;
}

/** A new worker reads its own script from the browser's cache. */
function fromCache(entry: PerformanceEntry): boolean {
  return (entry as PerformanceResourceTiming & { deliveryType?: string }).deliveryType === "cache";
}
