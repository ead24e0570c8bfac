/** One run at a time on a machine, and a screen that stays on during it. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { atStep, chooseSample, close, inspect, open, SMALL, startButton, trained } from "./browser.mjs";

const LONG = `#${SMALL}&steps=60000&evalEvery=60000&sampleEvery=60000`;
const SENTENCE =
  /^Another tab of this page is training on A captain's log, step \d+ of 60,000\. You can start here when/;

describe("two tabs", () => {
  test("the second says that the first is training, and can start when that one is done", async () => {
    const first = await open({ hash: LONG });
    const second = await open({ hash: LONG, beside: first });
    await first.bringToFront();
    await chooseSample(first);
    await chooseSample(second, "A cook's book");
    await startButton(first).click();
    await atStep(first, 2);
    await startButton(second).click();
    await second.getByText(SENTENCE).waitFor();
    assert.ok(await startButton(second).isDisabled());
    assert.equal(await second.getByRole("button", { name: "Pause" }).count(), 0);
    await second.bringToFront();
    await inspect(second, "another-tab");
    await second.getByRole("button", { name: /^My adapters/ }).click();
    assert.ok(await second.getByRole("button", { name: "Delete everything…" }).isDisabled());
    await second.keyboard.press("Escape");

    const third = await open({ hash: LONG, beside: first });
    await chooseSample(third);
    await third.getByText(SENTENCE).waitFor();
    await third.close();

    await first.getByRole("button", { name: "Stop and keep" }).click();
    await trained(first);
    await second.getByText(SENTENCE).waitFor({ state: "detached" });
    await startButton(second).click();
    await atStep(second, 2);
    await second.getByRole("button", { name: "Cancel" }).click();
    await second.getByRole("button", { name: /^Train again/ }).waitFor();
    assert.deepEqual([...first.faults, ...second.faults], []);
    await close(first);
  });

  test("what the first uses cannot be deleted in the second, even if that has not noticed it yet", async () => {
    const first = await open({ hash: LONG });
    const second = await open({ hash: LONG, beside: first });
    await first.bringToFront();
    await chooseSample(first);
    await startButton(first).click();
    await atStep(first, 2);
    await second.bringToFront();
    await second.getByRole("button", { name: /^My adapters/ }).click();
    await second.getByRole("button", { name: "Delete everything…" }).click();
    await second.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
    await second.getByText("nothing was deleted: another tab of this page is training").waitFor();
    assert.equal(await second.getByText("Everything is deleted.").count(), 0);
    await inspect(second, "nothing-deleted");
    await close(first);
  });

  test("the second takes over the run of the first when that one is closed", async () => {
    const first = await open({ hash: `#${SMALL}&steps=60000&evalEvery=3&sampleEvery=60000` });
    const second = await open({ hash: LONG, beside: first });
    await chooseSample(first);
    await chooseSample(second, "A cook's book");
    await startButton(first).click();
    await atStep(first, 4);
    await first.getByRole("button", { name: "Pause" }).click();
    await first.getByText(/Step \d+ is saved, so you may close this tab/).waitFor();
    await first.getByRole("button", { name: "Resume" }).click();
    await startButton(second).click();
    await second.getByText(SENTENCE).waitFor();
    await first.close();
    await second.getByText(SENTENCE).waitFor({ state: "detached" });
    const goOn = second.getByRole("button", { name: /^Continue where you left off/ });
    const [, step] = (await goOn.textContent()).match(/step (\d+) of 60,000/);
    assert.ok(step >= 3, step);
    await goOn.click();
    await atStep(second, Number(step) + 2);
    await second.getByText("A captain's log").first().waitFor();
    await second.getByRole("button", { name: "Cancel" }).click();
    await second.getByRole("button", { name: /^Train again/ }).waitFor();
    assert.deepEqual(second.faults, []);
    await close(second);
  });
});

describe("the screen", () => {
  test("is kept awake during a run, and released at its end", async () => {
    const page = await open({ hash: LONG });
    await page.evaluate(() => {
      self.locks = [];
      const request = WakeLock.prototype.request;
      WakeLock.prototype.request = async function (kind) {
        const lock = await request.call(this, kind);
        self.locks.push(lock);
        return lock;
      };
    });
    await chooseSample(page);
    assert.deepEqual(await held(), []);
    await startButton(page).click();
    await atStep(page, 1);
    await page.waitForFunction(() => self.locks.length === 1);
    assert.deepEqual(await held(), [true]);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    assert.deepEqual(await held(), [false]);
    await close(page);

    function held() {
      return page.evaluate(() => self.locks.map((lock) => !lock.released));
    }
  });
});
