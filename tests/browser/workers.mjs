/** Several workers share the work on the processor: the same learning, and no worker is waited for in vain. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { atStep, banner, chooseSample, close, open, savedLog, startButton, trained, trap } from "./browser.mjs";

const SHORT = "batch=3&seqLen=32&holdout=0.05&maxTokens=12&lr=0.0005&dropout=0.1";

/** A page with a run under way, or over, on so many workers. */
async function start(workers, settings) {
  const page = await open({ hash: `#${SHORT}&${settings}`, workers });
  await chooseSample(page);
  await startButton(page).click();
  return page;
}

async function wholeRun(workers) {
  const page = await start(workers, "steps=12&evalEvery=4&sampleEvery=100");
  await trained(page);
  await page.getByRole("button", { name: "Show: Train" }).click();
  const log = await savedLog(page);
  assert.equal(page.workers().length, workers);
  assert.deepEqual(page.faults, []);
  await page.getByText("0 network requests since the page was ready").waitFor();
  await close(page);
  return {
    config: log.find(({ type }) => type === "config"),
    losses: log.filter(({ type }) => type === "step" || type === "eval").map(({ loss }) => loss),
  };
}

describe("several workers", () => {
  test("two learn what one learns, three too, and the log says how many there were", async () => {
    const alone = await wholeRun(1);
    assert.equal(alone.config.workers, 1);
    assert.equal(alone.losses.length, 12 + 4);
    for (const workers of [2, 3]) {
      const { config, losses } = await wholeRun(workers);
      assert.equal(config.workers, workers);
      losses.forEach((loss, i) => {
        assert.ok(Math.abs(loss - alone.losses[i]) < 1e-4 * alone.losses[i], `${loss} beside ${alone.losses[i]}`);
      });
    }
  });

  test("a stop and a pause are heard, and a helper that dies costs only the steps since the last test", async () => {
    const page = await start(2, "steps=4000&evalEvery=3&sampleEvery=4000");
    await atStep(page, 7);
    await trap(page, 1);
    await banner(page, "train").waitFor();
    assert.match(await banner(page, "train").textContent(), /The program behind the page stopped/);
    assert.match(await banner(page, "train").textContent(), /best adapter so far \(step \d+\)/);
    await page.getByRole("button", { name: /^Train again/ }).click();
    await banner(page, "train").waitFor({ state: "detached" });
    await atStep(page, 4);
    assert.equal(page.workers().length, 2, "all workers of the session before are gone");
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused; nothing is computed until you resume.").waitFor();
    await page.getByRole("button", { name: "Resume" }).click();
    await atStep(page, 8);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    await close(page);
  });
});
