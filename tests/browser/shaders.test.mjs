/** The page where shaders compute, with WebGPU in software. `ONLY` is that of page.test.mjs, which runs beside it. */

import { sharedBrowser } from "./browser.mjs";
import { files } from "./shaders.mjs";

const only = process.env.ONLY?.split(",").filter((name) => files.includes(name)) ?? files;

if (only.length > 0) sharedBrowser();
for (const name of only) await import(`./${name}.mjs`);
