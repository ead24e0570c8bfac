/** A setting that cannot be used is said where it is typed, or set back if the address has it; nothing else sees it. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  address,
  atStep,
  banner,
  chooseSample,
  close,
  engineWorker,
  inspect,
  listen,
  open,
  SMALL,
  startButton,
} from "./browser.mjs";

const STEPS = "a whole number from 1 to 1,000,000";
const typed = [
  ["Steps", "steps", { "": STEPS, 2.5: STEPS, "-1": STEPS, 0: STEPS, 1000001: STEPS }],
  ["Learning rate", "lr", { "": "a number, more than 0 and at most 1", 0: "more than 0", 2: "at most 1" }],
  ["Batch", "batch", { 0: "a whole number from 1 to 1,024", 100000: "from 1 to 1,024" }],
  ["Length of a row", "seqLen", { 100000: "from 1 to 256, the most that this model sees at once" }],
  ["Rank", "rank", { 0: "a whole number from 1 to", 100000: "a whole number from 1 to" }],
  ["Alpha", "alpha", { 0: "a number from 1e-30 to 1e18" }],
];

describe("a setting that cannot be used", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
    await page.getByText(/network requests? since the page was ready/).waitFor();
    await (await engineWorker(page)).evaluate(watchSettings);
    await chooseSample(page);
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Advanced").click();
  });
  after(() => close(page));

  const box = (label) => page.getByRole("spinbutton", { name: label });
  const blocked = () => page.locator("#train .note", { hasText: "cannot be used" });

  for (const [label, key, cases] of typed)
    for (const [value, says] of Object.entries(cases))
      test(`${label} = "${value}" is said at its box and not used`, async () => {
        const before = await page.evaluate(() => location.hash);
        await box(label).fill(value);
        await page.keyboard.press("Tab");
        await page.locator(`#${key}[aria-invalid=true]`).waitFor();
        const described = await page.evaluate(descriptionOf, key);
        assert.ok(described.includes(says), described);
        assert.equal(await box(label).inputValue(), value);
        assert.equal(await page.evaluate(() => location.hash), before);
        await blocked().filter({ hasText: label }).waitFor();
        assert.ok(await page.locator("#train button", { hasText: /^Train/ }).isDisabled());
        if (label === "Steps" && value === "") await inspect(page, "setting-refused");
        await page.getByRole("button", { name: `Reset ${label}` }).click();
        await page.locator(`#${key}[aria-invalid=false]`).waitFor();
        assert.equal(await blocked().count(), 0);
      });

  test("is good again as soon as it is mended", async () => {
    await box("Steps").fill("0");
    await page.keyboard.press("Tab");
    await page.locator("#steps[aria-invalid=true]").waitFor();
    await box("Steps").fill("7");
    await page.locator("#steps[aria-invalid=false]").waitFor();
    await page.waitForFunction(() => location.hash.includes("steps=7"));
    await startButton(page).waitFor();
  });

  test("stands in its box while that has the focus, though its default follows the batch", async () => {
    const steps = () => box("Steps").inputValue();
    await page.getByRole("button", { name: "Reset Steps" }).click();
    await box("Length of a row").fill("32");
    await box("Batch").fill("1");
    await page.keyboard.press("Tab");
    await page.waitForFunction(() => Number(document.querySelector("#steps").value) > 400);
    const many = await steps();
    await box("Steps").focus();
    await page.getByRole("button", { name: "Reset Batch" }).evaluate((button) => button.click());
    await page.waitForFunction(() => document.querySelector("#train").textContent.includes("150 times"));
    assert.equal(await steps(), many);
    await page.keyboard.press("Tab");
    await page.waitForFunction(() => document.querySelector("#steps").value === "150");
    await page.getByRole("button", { name: "Reset Length of a row" }).click();
  });

  test("is taken with Enter, which starts no run from there", async () => {
    await box("Steps").fill("9");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => location.hash.includes("steps=9"));
    await startButton(page).waitFor();
    assert.equal(await page.locator("#train .numbers").count(), 0);
  });

  test("is where the button in the next card leads", async () => {
    await box("Batch").fill("0");
    await page.keyboard.press("Tab");
    await page.locator("#model").getByRole("button", { name: "Close" }).click();
    await inspect(page, "setting-blocks");
    await page.getByRole("button", { name: "Change Batch" }).click();
    await page.waitForFunction(() => document.activeElement?.id === "batch");
    assert.ok(await box("Batch").isVisible());
    assert.equal(await box("Batch").inputValue(), "0");
    await page.getByRole("button", { name: "Reset Batch" }).click();
    await startButton(page).waitFor();
  });

  test("has reached nobody", async () => {
    assert.equal(await banner(page, "model").count(), 0);
    const seen = await page.workers()[0].evaluate(() => self.seen);
    assert.ok(seen.length > 0);
    for (const { steps, lr, batch, seqLen, rank, alpha } of seen) {
      assert.ok([7, 9, 150, 216].includes(steps) || steps > 150, `steps ${steps}`);
      assert.ok(lr > 0 && lr <= 1, `lr ${lr}`);
      assert.ok([1, 4].includes(batch) && [32, 64].includes(seqLen) && rank === 8 && alpha === 16);
    }
    assert.deepEqual(page.faults, []);
  });
});

describe("a run", () => {
  test("takes the number of steps that follows from a batch that was typed a moment before", async () => {
    const page = await open({ hash: "#seqLen=32&batch=4&holdout=0.02&maxTokens=12&evalEvery=1000" });
    const events = await listen(page);
    await chooseSample(page);
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Advanced").click();
    const steps = page.getByRole("spinbutton", { name: "Steps" });
    const before = Number(await steps.inputValue());
    const button = await startButton(page).elementHandle();
    await page.getByRole("spinbutton", { name: "Batch" }).fill("1");
    await button.evaluate((train) => train.click());
    await atStep(page, 1);
    const config = (await events()).find(({ type }) => type === "config");
    assert.equal(config.settings.batch, 1);
    assert.ok(config.settings.steps > 2 * before, `${config.settings.steps} steps, ${before} of the larger batch`);
    await page.getByRole("button", { name: "Cancel" }).click();
    while (!(await events()).some(({ type }) => type === "done")) await page.waitForTimeout(100);
    await page.getByRole("button", { name: "Change: The model" }).click();
    assert.equal(Number(await page.locator("#steps").inputValue()), config.settings.steps);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

describe("an address with settings that cannot be used", () => {
  const wrong = {
    steps: [
      "-5",
      /^Steps was “-5” in the address of this page\. It must be a whole number from 1 to 1,000,000\. It is /,
    ],
    lr: [
      "<script>alert(1)</script>",
      /^Learning rate was “<script>alert\(1\)<\/script>”.* more than 0 and at most 1\./,
    ],
    rank: ["100000", /^Rank was “100000”.* from 1 to \d+, .*\. It is back at 8\.$/],
    batch: ["0", /^Batch was “0”.* It is back at 4\.$/],
    seqLen: ["2.5", /^Length of a row was “2\.5”/],
    schedule: [
      "x",
      /^Course of the learning rate was “x”.* It must be linear, cosine or constant\. .* falling evenly\.$/,
    ],
    targets: ["q_proj,../../etc", /^Layers that learn was “q_proj,\.\.\/\.\.\/etc”.* It is back at all of them\.$/],
    seed: ["1e20", /^Seed was “1e20”/],
    holdout: ["2", /^Part of the rows held out was “2”.* less than 1\. It is back at 0\.1\.$/],
    shuffle: ["perhaps", /^Rows in mixed order was “perhaps”.* It is back at yes\.$/],
    patience: ["", /^Tests without progress that end the run was empty.* There is no number here\./],
    device: ["quantum", /^What computes was “quantum”.* auto, gpu or cpu\. .* a graphics card if there is one\.$/],
    theme: ["purple", /^Colours was “purple”.* It is back at same as the system\.$/],
    foo: ["1", /^foo was “1”.* This page knows no such setting\. It is ignored\.$/],
  };

  test("says each by its label, sets it back, and is rewritten without it", async () => {
    const parts = new URLSearchParams(Object.entries(wrong).map(([key, [value]]) => [key, value]));
    const page = await open({ hash: `#maxTokens=12&${parts}` });
    const notes = page.locator("#model .set-back p");
    await notes.first().waitFor();
    const said = await notes.evaluateAll((all) =>
      all.map((note) => {
        for (const quote of note.querySelectorAll("q")) quote.textContent = `“${quote.textContent}”`;
        return note.textContent;
      }),
    );
    for (const [key, [, says]] of Object.entries(wrong))
      assert.ok(
        said.some((words) => says.test(words)),
        `${key}: ${said.join("\n")}`,
      );
    assert.equal(said.length, Object.keys(wrong).length);
    assert.equal(await page.evaluate(() => location.hash), "#maxTokens=12");
    await inspect(page, "settings-set-back");
    await page.locator("#model .set-back").getByRole("button", { name: "Change the settings" }).click();
    await page.waitForFunction(() => document.activeElement?.id === "steps");
    await page.locator("#model .set-back").getByRole("button", { name: "Close" }).click();
    assert.equal(await notes.count(), 0);
    await page.locator("#model").getByRole("button", { name: "Close" }).last().click();
    await chooseSample(page);
    assert.match(await page.locator("#model .done-line").textContent(), /adapter 0\.\d+ M|adapter \d+ k/);
    assert.equal(await banner(page, "text").count(), 0);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("can name the device before the settings, and keeps it after a reload", async () => {
    const page = await open({ hash: "#rank=4", device: "cpu" });
    await page.waitForFunction(() => location.hash === "#rank=4&device=cpu" && location.search === "");
    await page.getByText("No graphics card is used: your processor does it.").waitFor();
    await page.reload();
    await page.getByText("No graphics card is used: your processor does it.").waitFor();
    assert.equal(await page.evaluate(() => location.hash), "#rank=4&device=cpu");
    await page.goto(`${address()}?device=both`);
    await page
      .locator("#model .set-back")
      .getByText(/^What computes was both/)
      .waitFor();
    assert.equal(await page.evaluate(() => location.search + location.hash), "");
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("says what memory a run takes, which checkpointing lessens", async () => {
    const page = await open();
    await page.getByText(/network requests? since the page was ready/).waitFor();
    await page.getByRole("button", { name: "Change: The model" }).click();
    const words = page.locator("#model").getByText(/A run with these settings takes about [\d.]+ MB of memory/);
    const megabytes = async () => Number((await words.textContent()).match(/about ([\d.]+) MB of memory/)[1]);
    const usual = await megabytes();
    await page.getByText("Advanced").click();
    await page.getByLabel("Less memory, more time", { exact: true }).selectOption("yes");
    await page.waitForFunction(() => location.hash === "#checkpointing=true");
    await page.waitForFunction(
      (before) =>
        Number(document.querySelector("#model").textContent.match(/about ([\d.]+) MB of memory/)?.[1]) < before,
      usual,
    );
    await inspect(page, "settings-memory");
    await page.getByRole("button", { name: "Reset Less memory, more time" }).click();
    await page.waitForFunction(() => location.hash === "");
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("takes nothing out of a value that is no number", async () => {
    const page = await open({ hash: "#steps=10;batch=1&rank=4&rank=16" });
    const notes = page.locator("#model .set-back");
    await notes.waitFor();
    assert.match(await notes.textContent(), /Steps was 10;batch=1 in the address/);
    assert.match(await notes.textContent(), /Rank was 4 and 16 in the address/);
    assert.equal(await page.evaluate(() => location.hash), "");
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("keeps what can be used, names of single layers too", async () => {
    const page = await open({
      hash: "#targets=q_proj,v_proj&rank=4&lr=0.001&schedule=cosine&shuffle=false&theme=dark",
    });
    await page.getByText(/network requests? since the page was ready/).waitFor();
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Advanced").click();
    assert.equal(await page.getByLabel("Layers that learn", { exact: true }).inputValue(), "q_proj,v_proj");
    assert.equal(await page.getByLabel("Rank", { exact: true }).inputValue(), "4");
    assert.equal(await page.locator("#model .set-back").count(), 0);
    const kept = "#targets=q_proj%2Cv_proj&rank=4&lr=0.001&schedule=cosine&shuffle=false&theme=dark";
    assert.equal(await page.evaluate(() => location.hash), kept);
    await close(page);
  });
});

/** Runs in the worker: every settings object that a call brings. */
function watchSettings() {
  self.seen = [];
  self.addEventListener("message", ({ data }) => {
    if (data.input?.settings) self.seen.push(data.input.settings);
  });
}

/** Runs in the page: what a screen reader says about a box. */
function descriptionOf(key) {
  const ids = document.getElementById(key).getAttribute("aria-describedby").split(" ");
  return ids.map((id) => document.getElementById(id).textContent).join(" ");
}
