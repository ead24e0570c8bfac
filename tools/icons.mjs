/** Draws the PNG icons of www/public/icon.svg: `CHROMIUM=path node tools/icons.mjs`. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launch } from "../www/demo/chromium.mjs";

const folder = new URL("../www/public/", import.meta.url);
const svg = readFileSync(new URL("icon.svg", folder), "utf8");
/** Launchers cut a maskable icon into their own shape, so the ground fills it and the drawing keeps to the middle. */
const maskable = svg
  .replace(' rx="7"', "")
  .replace(/(<path[^]*)(<\/svg>)/, '<g transform="translate(4 4) scale(0.75)">$1</g>$2');

const browser = await launch();
for (const [name, size, drawing] of [
  ["192", 192, svg],
  ["512", 512, svg],
  ["maskable-512", 512, maskable],
]) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(`<style>body { margin: 0 } svg { display: block }</style>${drawing}`);
  await page.screenshot({ path: fileURLToPath(new URL(`icons/${name}.png`, folder)), omitBackground: true });
}
await browser.close();
