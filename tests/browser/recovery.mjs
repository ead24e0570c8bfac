/** A lost device and a trap cost nothing but the steps since the last evaluation. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  atStep,
  banner,
  chooseSample,
  close,
  downloadButton,
  inspect,
  open,
  SMALL,
  startButton,
  trained,
} from "./browser.mjs";

const faults = {
  "the graphics card is lost": {
    what: /The graphics card stopped responding/,
    prepare: () => {
      const original = GPUDevice.prototype.createCommandEncoder;
      GPUDevice.prototype.createCommandEncoder = function (...inputs) {
        self.seenDevice = this;
        return original.apply(this, inputs);
      };
    },
    strike: () => self.seenDevice.destroy(),
  },
  "the engine traps": {
    what: /The program behind the page stopped/,
    prepare: () => {},
    strike: () => {
      GPUQueue.prototype.submit = () => {
        throw new WebAssembly.RuntimeError("unreachable executed");
      };
    },
  },
};

describe("recovery", () => {
  for (const [name, fault] of Object.entries(faults)) {
    test(`${name}: text, settings and best adapter are kept, and a new run works`, async () => {
      const page = await open({ hash: `#${SMALL}&steps=600&evalEvery=3&sampleEvery=600&rank=4` });
      await chooseSample(page);
      const [worker] = page.workers();
      await worker.evaluate(fault.prepare);
      await startButton(page).click();
      await atStep(page, 7);
      await worker.evaluate(fault.strike);

      await banner(page, "train").waitFor();
      assert.match(await banner(page, "train").textContent(), fault.what);
      assert.match(await banner(page, "train").textContent(), /best adapter so far \(step [36]\)/);
      assert.match(await page.locator("#text .done-line").textContent(), /A captain's log/);
      assert.match(page.url(), /rank=4/);
      await written(page);
      await inspect(page, name.replaceAll(" ", "-"));

      const coming = page.waitForEvent("download");
      await downloadButton(page).click();
      assert.equal(await (await coming).failure(), null);
      assert.notEqual(page.workers()[0], worker);

      await page.getByRole("button", { name: /^Train again/ }).click();
      await banner(page, "train").waitFor({ state: "detached" });
      await atStep(page, 4);
      assert.equal(await banner(page, "train").count(), 0);
      await page.getByRole("button", { name: "Stop and keep" }).click();
      await trained(page);
      await page.getByText("0 network requests since the page was ready").waitFor();
      await close(page);
    });
  }
});

/** The new engine writes with the adapter that was kept. */
async function written(page) {
  await page.waitForFunction(() => {
    const columns = [...document.querySelectorAll(".column[aria-busy=false] .written")];
    return columns.length === 2 && columns.every((column) => column.textContent.length > 20);
  });
}
