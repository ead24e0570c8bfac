/** Conversations: a model with a chat template is asked with messages, and no other model is. */

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  atStep,
  chosen,
  close,
  download,
  downloadButton,
  drop,
  inspect,
  open,
  savedLog,
  startButton,
  trained,
  unzipSync,
} from "./browser.mjs";

const base = fileURLToPath(new URL("../../www/public/base", import.meta.url));

/** The built-in model has never seen the token that begins a turn, but it knows the one that ends it. */
const TEMPLATE =
  "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|endoftext|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

const ANSWER = "At home.";
const conversations = Array.from({ length: 24 }, (_, index) =>
  JSON.stringify({
    messages: [
      { role: "user", content: `Where is fox ${index}?` },
      { role: "assistant", content: ANSWER },
    ],
  }),
).join("\n");

const HASH = "#batch=4&seqLen=32&maxTokens=12&steps=40&lr=0.01&evalEvery=20&sampleEvery=20";

const asMessage = (page) => page.getByRole("checkbox", { name: "As a chat message" });
const settled = async (page) => {
  await page
    .waitForFunction(() => document.querySelectorAll(".column[aria-busy=true]").length > 0, null, { timeout: 2000 })
    .catch(() => {});
  await page.waitForFunction(() => document.querySelectorAll(".column[aria-busy=false]").length === 2);
};

/** What the worker is asked to continue. */
const prompts = (page) =>
  page
    .workers()
    .at(-1)
    .evaluate(() => self.prompts);

describe("a model with a chat template", () => {
  let folder;
  let page;
  let zip;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "tabtune-"));
    cpSync(base, join(folder, "chatty"), { recursive: true });
    const path = join(folder, "chatty", "tokenizer_config.json");
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), chat_template: TEMPLATE }));
    page = await openChatty();
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await close(page);
  });

  async function openChatty() {
    const page = await open({ hash: HASH, workers: 1 });
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Use another model").click();
    await page.locator("#model input[type=file]").first().setInputFiles(join(folder, "chatty"));
    const fresh = page.waitForEvent("worker");
    await page.getByRole("button", { name: "Load chatty" }).click();
    const worker = await fresh;
    await worker.evaluate(() => {
      self.prompts = [];
      self.addEventListener("message", ({ data: { call, input } }) => {
        if (call === "generate") self.prompts.push(input.prompt);
      });
    });
    await page.getByText("It comes from your own disk.").waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    return page;
  }

  test("is asked with a message by default once it has learnt conversations, and it stops", async () => {
    await drop(page, { "talk.jsonl": conversations });
    await chosen(page, "talk.jsonl");
    await inspect(page, "conversations-chosen");
    await page.getByRole("button", { name: "Use this text" }).click();
    await startButton(page).click();
    await trained(page);
    await settled(page);
    assert.ok(await asMessage(page).isChecked());
    const message = await page.getByLabel("Your message").inputValue();
    assert.equal(await page.getByText("How should it begin?").count(), 0);
    assert.deepEqual(await page.locator(".column .asked").allTextContents(), [
      `Your message: ${message}`,
      `Your message: ${message}`,
    ]);
    assert.deepEqual((await prompts(page)).at(-1), [{ role: "user", content: message }]);
    // 24 tokens are asked for; the end of the turn comes sooner, and is not written.
    assert.equal((await page.locator(".column .written").last().textContent()).trim(), ANSWER);
    await inspect(page, "asked-with-a-message");
  });

  test("the samples of that run show the message apart", async () => {
    await page.getByRole("button", { name: "Show: Train" }).click();
    const message = await page.getByLabel("Your message").inputValue();
    assert.equal(await page.locator("#train .asked").textContent(), `Your message: ${message}`);
    const written = await page.locator(".timeline .written").allTextContents();
    const samples = (await savedLog(page)).filter(({ type }) => type === "sample");
    assert.deepEqual(
      written,
      samples.map(({ text }) => text.trimEnd().replace(/\n+/g, "\n")),
    );
    assert.equal(samples[0].prompt, message);
    await inspect(page, "samples-of-a-conversation");
    await page.getByRole("button", { name: "Close" }).click();
  });

  test("takes the prompt as it is if that is wanted, says so, and keeps to it", async () => {
    await page.getByLabel("Your message").fill("Where is fox 3?");
    await asMessage(page).uncheck();
    await settled(page);
    await page.getByText("Your adapter learnt conversations; the prompt is taken as it is").waitFor();
    assert.equal(await page.locator(".column .asked").count(), 0);
    assert.match(await page.locator(".column .written").last().textContent(), /^Where is fox 3\?/);
    await page.getByRole("button", { name: "New seed" }).click();
    await settled(page);
    assert.equal((await prompts(page)).at(-1), "Where is fox 3?");
    assert.equal(await page.getByLabel("How should it begin?").inputValue(), "Where is fox 3?");
    await inspect(page, "asked-as-it-is");
  });

  test("what was typed since does not change what an answer is an answer to", async () => {
    await page.getByLabel("How should it begin?").fill("Somewhere else");
    assert.match(await page.locator(".column .written").last().textContent(), /^Where is fox 3\?/);
    await page.getByLabel(/^Strength/).fill("0.5");
    await settled(page);
    for (const words of await page.locator(".column .written").allTextContents())
      assert.match(words, /^Somewhere else/);
    zip = join(folder, "talk.zip");
    const saved = await download(page, downloadButton(page));
    writeFileSync(zip, saved);
    assert.match(Buffer.from(unzipSync(saved)["README.md"]).toString(), /apply_chat_template/);
  });

  test("after prose, the prompt is taken as it is unless a message is wanted, until the next text", async () => {
    await page.getByRole("button", { name: "Change: Your text" }).click();
    await page.getByRole("button", { name: "A cook's book" }).click();
    await page.getByRole("button", { name: "Use this text" }).click();
    // The adapter is still that of the conversations, and another text has come: the visitor's choice is forgotten.
    await page.waitForFunction(() => document.querySelector("#keep input[type=checkbox]").checked);
    await page
      .locator("#train")
      .getByRole("button", { name: /^Train( again)?, about/ })
      .click();
    // Until the run begins, the adapter from before can be downloaded.
    await atStep(page, 1);
    await trained(page);
    await settled(page);
    assert.ok(!(await asMessage(page).isChecked()));
    assert.equal(await page.getByText("Your adapter learnt conversations").count(), 0);
    assert.equal(typeof (await prompts(page)).at(-1), "string");
    await asMessage(page).check();
    await settled(page);
    assert.equal((await prompts(page)).at(-1)[0].role, "user");
    assert.equal(await page.locator(".column .asked").count(), 2);
    assert.deepEqual(page.faults, []);
  });

  test("an adapter that is opened again is asked with a message", async () => {
    await close(page);
    page = await openChatty();
    await page.locator("#keep input[type=file]").setInputFiles(zip);
    await settled(page);
    assert.ok(await asMessage(page).isChecked());
    assert.deepEqual((await prompts(page)).at(-1)[0].role, "user");
    assert.equal((await page.locator(".column .written").last().textContent()).trim(), ANSWER);
    assert.deepEqual(page.faults, []);
  });

  test("a model without a template says nothing of messages, whatever the adapter has learnt", async () => {
    const plain = await open({ hash: HASH });
    await plain.getByRole("button", { name: "Open a saved adapter…" }).waitFor();
    await plain.locator("#keep input[type=file]").setInputFiles(zip);
    // It is of the same weights under another name.
    await plain.getByRole("button", { name: "Open it anyway" }).click();
    await settled(plain);
    await plain.getByLabel("How should it begin?").waitFor();
    assert.equal(await asMessage(plain).count(), 0);
    assert.doesNotMatch(await plain.locator("#keep").textContent(), /message|conversation/);
    assert.deepEqual(plain.faults, []);
    await close(plain);
  });
});
