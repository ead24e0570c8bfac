/** Whether this browser can train, and on what; and what can be done where it cannot, or could do so faster. */

import type { DeviceChoice, Foreseen } from "./types";

/** A sentence that says what there is, and one that says what to do. */
export interface Advice {
  reason: string;
  advice: string;
}

export type Availability = Available | Unavailable;

export interface Available {
  state: "available";
  device: "gpu" | "cpu";
  /** Why the processor has to do it, and what would get the browser a graphics card to use. */
  faster?: Advice;
  /** Of a model that was asked about. What is not known is left out. */
  bytes?: {
    /** What is still to be fetched of the model. */
    download?: number;
    /** What `run` takes at its peak: on the graphics card or, without one, of the machine's memory. */
    gpuPeak?: number;
  };
  /** The model, and a run with its default settings or with those that fit. */
  run?: Omit<Foreseen, "memory">;
}

export interface Unavailable extends Advice {
  state: "unavailable";
  /** `insecure`, `no_simd` or `no_gpu`; of a model, the code of the error that `create` would end with. */
  code: string;
}

/** What `Session.load` with this choice of device would find here. */
export async function availability(wanted: DeviceChoice = "auto"): Promise<Availability> {
  if (!globalThis.isSecureContext) return { state: "unavailable", code: "insecure", ...insecure };
  if (!hasSimd()) return { state: "unavailable", code: "no_simd", ...noSimd };
  if (wanted === "cpu") return { state: "available", device: "cpu" };
  const card = await navigator.gpu?.requestAdapter().catch(() => null);
  const agent = navigator.userAgent;
  if (!card) {
    const missing = navigator.gpu ? withoutAdapter(agent) : withoutWebGpu(agent);
    return wanted === "gpu"
      ? { state: "unavailable", code: "no_gpu", ...missing }
      : { state: "available", device: "cpu", faster: missing };
  }
  const isReal = !(card.info as { isFallbackAdapter?: boolean }).isFallbackAdapter;
  return { state: "available", device: isReal || wanted === "gpu" ? "gpu" : "cpu" };
}

/** A function that makes a vector of zeros. */
const VECTOR = [
  [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  [0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b],
  [0x03, 0x02, 0x01, 0x00],
  [0x0a, 0x08, 0x01, 0x06, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0x0b],
];

function hasSimd(): boolean {
  return globalThis.WebAssembly?.validate(Uint8Array.from(VECTOR.flat())) ?? false;
}

const insecure: Advice = {
  reason: "This page was opened over plain http, where browsers lock away what a run needs.",
  advice: "Open it with https, or from http://localhost.",
};

const noSimd: Advice = {
  reason: "It has no SIMD in WebAssembly, which the engine is written with.",
  advice: "Update it: Chrome and Edge have it from version 91 on, Firefox from 89, Safari from 16.4.",
};

/**
 * The browser has no `navigator.gpu`. Which browser has it on which system, from which version on: MDN's compatibility
 * data of August 2026.
 */
function withoutWebGpu(agent: string): Advice {
  if (isInsideAnotherApp(agent)) return insideAnotherApp;
  if (/iPhone|iPad|iPod/.test(agent)) return ios;
  if (/Firefox\//.test(agent)) return firefox(agent);
  if (isChromium(agent)) return chromium(agent);
  if (/Macintosh.*Safari\//.test(agent)) return safari;
  return because("This browser has no WebGPU.", "Use a current Chrome or Edge.");
}

/** `navigator.gpu` exists but offers no adapter. */
function withoutAdapter(agent: string): Advice {
  if (isChromium(agent) && !isInsideAnotherApp(agent)) return chromium(agent);
  return because(
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

const insideAnotherApp = because(
  "This page is open inside another app, and the browser in there has no WebGPU.",
  "Open the page in a browser of its own: Chrome on Android, or Safari with iOS 26 or iPadOS 26.",
);

const ios = because(
  "Browsers on iPhone and iPad have WebGPU from version 26 of the system on.",
  "Update to iOS 26 or iPadOS 26.",
);

/** An iPad may call itself a Mac. */
const safari = because(
  "Safari has WebGPU from macOS 26 and iPadOS 26 on.",
  "Update the system to version 26, or use Chrome or Edge on a Mac.",
);

function chromium(agent: string): Advice {
  if (/Android/.test(agent))
    return because(
      "Chrome on Android offers WebGPU from version 121 on, for most graphics chips.",
      "Update Chrome, or use a computer.",
    );
  if (/Linux/.test(agent))
    return because(
      "By default, Chrome on Linux offers WebGPU only with an Intel graphics chip of the 12th generation or newer.",
      "Open chrome://flags/#enable-unsafe-webgpu, choose Enabled and restart the browser.",
    );
  if (isOlder(agent, /Chrom(?:e|ium)\/(\d+)/, 113))
    return because("Chrome and Edge have WebGPU from version 113 on.", "Update the browser.");
  if (/CrOS/.test(agent))
    return because(
      "Chrome on ChromeOS has WebGPU, but found no graphics chip that it may use.",
      "Update ChromeOS, or use another computer.",
    );
  return because(
    "Chrome and Edge have WebGPU, but found no graphics card that they may use.",
    "Update the graphics driver, and switch on graphics acceleration in Settings, System.",
  );
}

function firefox(agent: string): Advice {
  const mac = /Mac OS/.test(agent);
  if (!mac && !/Windows/.test(agent))
    return because(
      `Firefox has no WebGPU on ${/Android/.test(agent) ? "Android" : "Linux"} yet.`,
      "Use Chrome or Edge.",
    );
  const others = mac ? "Chrome, Edge, or Safari on macOS 26" : "Chrome or Edge";
  const has = mac
    ? "Firefox on a Mac has WebGPU from version 147 on, with Apple silicon only"
    : "Firefox on Windows has WebGPU from version 141 on";
  if (isOlder(agent, /Firefox\/(\d+)/, mac ? 147 : 141)) return because(`${has}.`, `Update Firefox, or use ${others}.`);
  return because(`${has}, but does not offer it here.`, `Use ${others}.`);
}

function isOlder(agent: string, pattern: RegExp, version: number): boolean {
  return Number(agent.match(pattern)?.[1]) < version;
}

function because(reason: string, advice: string): Advice {
  return { reason, advice };
}
