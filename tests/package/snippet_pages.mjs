/** What is done with the pages that the documentation shows, and what must come of it. */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { hubServer } from "../browser/hub_server.mjs";
import { at, openPage, screen } from "./installed.mjs";

const { unzipSync } = createRequire(new URL("../../www/package.json", import.meta.url))("fflate");

const PATIENCE_MS = 300_000;
export const STEPS = 20;
export const sample = (name) => at(`../../www/public/samples/${name}.txt`);
const base = at("../../www/public/base");
const ID = "HuggingFaceTB/SmolLM2-135M-Instruct";

const TEMPLATE =
  "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|endoftext|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/** Has, under the name that the documentation uses, the built-in model with a chat template. */
export function chattyHub() {
  const config = JSON.parse(readFileSync(join(base, "tokenizer_config.json"), "utf8"));
  return hubServer({
    [ID]: {
      folder: base,
      paths: ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"],
      files: { "tokenizer_config.json": Buffer.from(JSON.stringify({ ...config, chat_template: TEMPLATE })) },
      commit: "76543210fedcba9876543210fedcba9876543210",
    },
  });
}

export const oneFilePage = (html, world) =>
  onPage("readme", html, world, async (page) => {
    await page.locator("input").setInputFiles(sample("captain"));
    await page.getByRole("link", { name: "Download" }).waitFor({ timeout: PATIENCE_MS });
    const shown = await page.locator("pre").textContent();
    assert.equal(shown.match(/^step \d+: loss \d\.\d\d$/gm).length, STEPS);
    assert.ok(shown.split("\n").slice(STEPS).join("").length > 0, "nothing was written");
    await downloadsAdapter(page, "Download");
  });

export async function hubLines(code, world) {
  const shown = [];
  const html = `<script type="importmap">{"imports": {"tabtune": "./node_modules/tabtune/index.js"}}</script>
    <script type="module">
      import { LoraModel } from "tabtune";
      ${onHub(code, world)}
      document.title = "over";
    </script>`;
  const use = async (page) => {
    page.on("console", (message) => shown.push(message.text()));
    await page.reload();
    await page.waitForFunction(() => document.title === "over", null, { timeout: PATIENCE_MS });
  };
  await onPage("hub", html, world, use);
  assert.match(shown.at(-1), /^(\d+) \1 /);
}

export const stylePage = (html, world) =>
  onPage("style", html, world, async (page) => {
    await says(page, /^Ready$/);
    await page.getByLabel("Your notes").setInputFiles(sample("captain"));
    const [, before, now] = await says(page, /^Loss on unseen notes: (\d\.\d\d), now (\d\.\d\d)$/);
    assert.ok(now < before - 0.2, `the loss was ${before} and is ${now}`);
    const styled = await written(page, "Write");
    assert.match(styled, /^Dear diary,.{20}/s);
    await page.getByLabel("Strength").fill("0");
    assert.notEqual(await written(page, "Write"), styled);
    await downloadsAdapter(page, "Download the adapter");
  });

export const chatPage = (html, world) =>
  onPage("chat", onHub(html, world), world, async (page) => {
    await says(page, /^Ready$/);
    const content = Buffer.from(world.rows.repeat(8));
    await page
      .getByLabel("Conversations")
      .setInputFiles({ name: "talk.jsonl", mimeType: "text/plain", buffer: content });
    await says(page, /^Trained$/);
    const { messages } = JSON.parse(world.rows.split("\n")[0]);
    for (const turn of [1, 2]) {
      await page.getByLabel("Your message").fill(messages[0].content);
      await page.getByRole("button", { name: "Send" }).click();
      const answered = `You: ${messages[0].content}\nModel: ${messages[1].content}\n`.repeat(turn);
      await page.waitForFunction((end) => document.querySelector("pre").textContent.endsWith(end), answered, {
        timeout: PATIENCE_MS,
      });
    }
  });

export const usersPage = (html, world) =>
  onPage("users", html, world, async (page) => {
    await says(page, /^Users: none yet$/);
    const texts = { Anna: "captain", "Ben & Co/2": "jester" };
    for (const [user, text] of Object.entries(texts)) {
      await page.getByLabel("User", { exact: true }).fill(user);
      await page.getByLabel("What the user wrote").setInputFiles(sample(text));
      await says(page, new RegExp(`^${user} is kept$`));
    }
    const users = ["nobody", ...Object.keys(texts)];
    const ask = async () => {
      const all = [];
      for (const user of users) {
        await page.getByLabel("User", { exact: true }).fill(user);
        all.push(await written(page, "Write as this user"));
      }
      return all;
    };
    const answers = await ask();
    assert.equal(new Set(answers.map((answer) => answer.split(": ")[1])).size, users.length, answers.join("\n"));
    await page.reload();
    const [, names] = await says(page, /^Users: (.*)$/);
    assert.deepEqual(names.split(", ").sort(), Object.keys(texts));
    assert.deepEqual(await ask(), answers);
  });

/** A page with this source, until it is used and has shown no error. */
async function onPage(name, html, { folder, address, browser }, use) {
  writeFileSync(join(folder, `${name}.html`), html);
  const page = await openPage(browser);
  try {
    const faults = [];
    page.on("pageerror", (error) => faults.push(error.message));
    await page.goto(`${address}${name}.html`);
    await use(page);
    assert.deepEqual(faults, []);
    await page.screenshot({ path: screen(`package-${name}`) });
  } finally {
    await page.close();
  }
}

const onHub = (code, { hub }) => code.replace(`model: "${ID}",`, (line) => `${line} hub: "${hub.address}",`);

/** Waits until the page's status is this, and has its parts. */
async function says(page, words) {
  const status = page.getByRole("status").filter({ hasText: words });
  await status.waitFor({ timeout: PATIENCE_MS });
  return words.exec(await status.textContent());
}

/** What is written once a button is pressed, which waits for the end. */
async function written(page, name) {
  const button = page.getByRole("button", { name });
  await button.click();
  await button.and(page.locator(":enabled")).waitFor({ timeout: PATIENCE_MS });
  return page.locator("pre").textContent();
}

async function downloadsAdapter(page, name) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name }).click()]);
  assert.equal(file.suggestedFilename(), "my-style.zip");
  isAdapter(readFileSync(await file.path()));
}

/** Whether a zip has an adapter's two files and nothing else; by default PEFT's. */
export function isAdapter(bytes, weights = "adapter_model.safetensors") {
  assert.deepEqual(Object.keys(unzipSync(bytes)).sort(), ["adapter_config.json", weights]);
}
