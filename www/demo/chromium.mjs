/** Finds Chromium on this machine and starts it without a display, with WebGPU in software. */

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const places = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

const software = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/** Without these instructions of the processor, V8 has no SIMD in WebAssembly. */
const withoutSimd = ["--js-flags=--no-enable-sse4-1 --no-enable-ssse3"];

export function launch({ webgpu = true, simd = true } = {}) {
  const executablePath = places.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error("no Chromium found: install it, or name it in the variable CHROMIUM");
  return chromium.launch({
    executablePath,
    headless: true,
    args: [...(webgpu ? software : []), ...(simd ? [] : withoutSimd)],
  });
}
