/** The page end to end, in a real Chromium with WebGPU in software. One browser, one test after the other. */

import { sharedBrowser } from "./browser.mjs";

sharedBrowser();
await import("./first_visit.mjs");
await import("./main_job.mjs");
await import("./hot_path.mjs");
await import("./recovery.mjs");
await import("./own_text.mjs");
await import("./bad_input.mjs");
await import("./keyboard.mjs");
await import("./no_webgpu.mjs");
