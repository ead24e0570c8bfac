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

/** The browser has no `navigator.gpu` (state of the browsers: MDN's compatibility data of August 2026). */
export function withoutWebGpu(userAgent: string): Availability {
  if (/Firefox\//.test(userAgent)) return firefox(userAgent);
  if (/iPhone|iPad/.test(userAgent))
    return unavailable(
      "Browsers on iPhone and iPad have WebGPU from version 26 of the system on.",
      "Update to iOS 26.",
    );
  if (/Safari\//.test(userAgent) && !/Chrom(e|ium)\//.test(userAgent))
    return unavailable("Safari has WebGPU from version 26 on.", "Update macOS to 26, or use Chrome or Edge.");
  if (/Chrom(e|ium)\//.test(userAgent)) return chrome(userAgent);
  return unavailable("This browser has no WebGPU.", "Use a current Chrome or Edge, or Safari 26.");
}

/** `navigator.gpu` exists but offers no adapter. */
export function withoutAdapter(userAgent: string): Availability {
  if (/Chrom(e|ium)\//.test(userAgent)) return chrome(userAgent);
  return unavailable(
    "This browser has WebGPU, but found no graphics card that it may use.",
    "Update the graphics driver, or try Chrome or Edge.",
  );
}

function chrome(userAgent: string): Availability {
  if (/Android/.test(userAgent))
    return unavailable(
      "Chrome on Android offers WebGPU from version 121 on, for most graphics chips.",
      "Update Chrome, or use a computer.",
    );
  if (/Linux/.test(userAgent))
    return unavailable(
      "By default, Chrome on Linux offers WebGPU only with an Intel graphics chip of the 12th generation or newer.",
      "Open chrome://flags/#enable-unsafe-webgpu, choose Enabled and restart the browser.",
    );
  return unavailable(
    "Chrome and Edge have WebGPU from version 113 on, but found no graphics card that they may use.",
    "Update the browser and the graphics driver, and switch on graphics acceleration in Settings, System.",
  );
}

function firefox(userAgent: string): Availability {
  if (/Windows/.test(userAgent))
    return unavailable("Firefox on Windows has WebGPU from version 141 on.", "Update Firefox.");
  if (/Mac OS/.test(userAgent))
    return unavailable(
      "Firefox on a Mac has WebGPU from version 147 on, with Apple silicon only.",
      "Update Firefox, or use Chrome or Safari 26.",
    );
  return unavailable("Firefox has no WebGPU on Linux and Android yet.", "Use Chrome or Edge.");
}

function unavailable(reason: string, advice: string): Availability {
  return { state: "unavailable", reason, advice };
}
