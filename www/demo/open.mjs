/** `npm run demo`: serves the page and opens it in the browser where there is a display. */

import { spawn } from "node:child_process";
import { serve } from "./serve.mjs";

const PORT = 8420;

const { address } = await serve(PORT).catch((error) => {
  if (error.code === "EADDRINUSE") return serve(0);
  console.error(error.message);
  process.exit(1);
});
console.log(`tabtune is at ${address}   (Ctrl+C ends it)`);

const display = process.env.DISPLAY || process.env.WAYLAND_DISPLAY;
const opener = { darwin: "open", win32: "explorer" }[process.platform] ?? (display && "xdg-open");
if (opener)
  spawn(opener, [address], { stdio: "ignore", detached: true })
    .on("error", () => {})
    .unref();
