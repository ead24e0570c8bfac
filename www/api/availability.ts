/** Whether this browser can train at all and, if not, why, and what can be done about it. */

export type Availability = { state: "available" } | { state: "unavailable"; reason: string; advice: string };

export async function availability(): Promise<Availability> {
  if (!globalThis.isSecureContext) return insecure;
  const gpu = navigator.gpu;
  if (!gpu) return withoutWebGpu(navigator.userAgent);
  const adapter = await gpu.requestAdapter().catch(() => null);
  return adapter ? { state: "available" } : withoutAdapter(navigator.userAgent);
}

const insecure = unavailable(
  "This page was opened over plain http, and browsers offer WebGPU on secure connections only.",
  "Open it with https, or from http://localhost.",
);

/**
 * The browser has no `navigator.gpu`. Which browser has it on which system, from which version on: MDN's compatibility
 * data of August 2026.
 */
export function withoutWebGpu(agent: string): Availability {
  if (isInsideAnotherApp(agent)) return insideAnotherApp;
  if (/iPhone|iPad|iPod/.test(agent)) return ios;
  if (/Firefox\//.test(agent)) return firefox(agent);
  if (isChromium(agent)) return chromium(agent);
  if (/Macintosh.*Safari\//.test(agent)) return safari;
  return unavailable("This browser has no WebGPU.", "Use a current Chrome or Edge.");
}

/** `navigator.gpu` exists but offers no adapter. */
export function withoutAdapter(agent: string): Availability {
  if (isChromium(agent) && !isInsideAnotherApp(agent)) return chromium(agent);
  return unavailable(
    "This browser has WebGPU, but found no graphics card that it may use.",
    "Update the graphics driver, or try Chrome or Edge.",
  );
}

const isChromium = (agent: string) => /Chrom(e|ium)\//.test(agent);

/** Android marks such browsers with `wv`; on iPhones they lack the word Safari. */
function isInsideAnotherApp(agent: string): boolean {
  return (
    /; wv\)|\b(FBAN|FBAV|Instagram|Line)\b/.test(agent) || (/iPhone|iPad|iPod/.test(agent) && !/Safari/.test(agent))
  );
}

const insideAnotherApp = unavailable(
  "This page is open inside another app, and the browser in there has no WebGPU.",
  "Open the page in a browser of its own: Chrome on Android, or Safari with iOS 26 or iPadOS 26.",
);

const ios = unavailable(
  "Browsers on iPhone and iPad have WebGPU from version 26 of the system on.",
  "Update to iOS 26 or iPadOS 26.",
);

/** An iPad may call itself a Mac. */
const safari = unavailable(
  "Safari has WebGPU from macOS 26 and iPadOS 26 on.",
  "Update the system to version 26, or use Chrome or Edge on a Mac.",
);

function chromium(agent: string): Availability {
  if (/Android/.test(agent))
    return unavailable(
      "Chrome on Android offers WebGPU from version 121 on, for most graphics chips.",
      "Update Chrome, or use a computer.",
    );
  if (/Linux/.test(agent))
    return unavailable(
      "By default, Chrome on Linux offers WebGPU only with an Intel graphics chip of the 12th generation or newer.",
      "Open chrome://flags/#enable-unsafe-webgpu, choose Enabled and restart the browser.",
    );
  if (isOlder(agent, /Chrom(?:e|ium)\/(\d+)/, 113))
    return unavailable("Chrome and Edge have WebGPU from version 113 on.", "Update the browser.");
  if (/CrOS/.test(agent))
    return unavailable(
      "Chrome on ChromeOS has WebGPU, but found no graphics chip that it may use.",
      "Update ChromeOS, or use another computer.",
    );
  return unavailable(
    "Chrome and Edge have WebGPU, but found no graphics card that they may use.",
    "Update the graphics driver, and switch on graphics acceleration in Settings, System.",
  );
}

function firefox(agent: string): Availability {
  const mac = /Mac OS/.test(agent);
  if (!mac && !/Windows/.test(agent))
    return unavailable(
      `Firefox has no WebGPU on ${/Android/.test(agent) ? "Android" : "Linux"} yet.`,
      "Use Chrome or Edge.",
    );
  const others = mac ? "Chrome, Edge, or Safari on macOS 26" : "Chrome or Edge";
  const has = mac
    ? "Firefox on a Mac has WebGPU from version 147 on, with Apple silicon only"
    : "Firefox on Windows has WebGPU from version 141 on";
  if (isOlder(agent, /Firefox\/(\d+)/, mac ? 147 : 141))
    return unavailable(`${has}.`, `Update Firefox, or use ${others}.`);
  return unavailable(`${has}, but does not offer it here.`, `Use ${others}.`);
}

function isOlder(agent: string, pattern: RegExp, version: number): boolean {
  return Number(agent.match(pattern)?.[1]) < version;
}

function unavailable(reason: string, advice: string): Availability {
  return { state: "unavailable", reason, advice };
}
