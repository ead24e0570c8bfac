/** A model of the Hub in the page: looked up, fetched with a pause and a reload, trained on, and deleted. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../../www/demo/serve.mjs";
import {
  banner,
  chooseSample,
  close,
  download,
  drop,
  inspect,
  open,
  SMALL,
  startButton,
  trained,
  unzipSync,
} from "./browser.mjs";
import { hubServer } from "./hub_server.mjs";
import { plainHost } from "./plain_host.mjs";

const folder = fileURLToPath(new URL("../../www/public/base", import.meta.url));
const ggufs = fileURLToPath(new URL("../fixtures/gguf", import.meta.url));
const paths = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
const commit = "89abcdef0123456789abcdef0123456789abcdef";
const CANARY = "The lighthouse keeper's secret is xylophone marmalade. ";

/** From a page with a text to the models of the Hub. */
async function openHub(page) {
  await page.getByRole("button", { name: "Change: The model" }).click();
  await page.getByText("Use another model").click();
  await page.getByRole("button", { name: "Fetch one from the Hugging Face Hub…" }).click();
  await page.getByRole("region", { name: "Models from the Hugging Face Hub" }).waitFor();
}

async function lookUp(page, name) {
  await page.getByLabel("Or any other, by its name there").fill(name);
  await page.getByRole("button", { name: "Look it up" }).click();
}

describe("a model of the Hub in the page", () => {
  let hub;
  let site;
  let page;
  before(async () => {
    const story = { folder, paths, commit, licence: "cc-by-4.0" };
    hub = await hubServer({
      "tabtune/story": story,
      "tabtune/gguf": { folder: ggufs, paths: ["llama.gguf"], commit },
      // Two of the list. The others are not there.
      "HuggingFaceTB/SmolLM2-135M": { ...story, licence: "apache-2.0" },
      "openai-community/gpt2": { ...story, files: { "config.json": Buffer.from('{"model_type":"rwkv"}') } },
      "Qwen/Qwen3-0.6B": { ...story, gated: "manual" },
    });
    site = await serve(0, [hub.address, hub.storage]);
    page = await open({ at: site.address, hub: hub.address, hash: `#${SMALL}&steps=5&evalEvery=5&sampleEvery=9` });
    await drop(page, { "secret.txt": CANARY.repeat(60) });
    await page.getByRole("button", { name: "Use this text" }).click();
    await startButton(page).waitFor();
  });
  after(async () => {
    await close(page);
    hub.close();
    site.close();
  });

  const button = (name) => page.getByRole("button", { name });
  const section = () => page.getByRole("region", { name: "Models from the Hugging Face Hub" });
  const line = () => section().locator(".hub-stored li");
  const storedFiles = () =>
    page.evaluate(async () => {
      const names = [];
      for await (const [name, folder] of await navigator.storage.getDirectory())
        if (name.startsWith("hub")) for await (const file of folder.keys()) names.push(file);
      return names;
    });

  test("nothing of it is fetched, and nobody is asked, before a visitor wants it", async () => {
    const loaded = () =>
      page.evaluate(() => performance.getEntriesByType("resource").filter(({ name }) => /(hub|download)-/.test(name)));
    assert.deepEqual(await loaded(), []);
    await openHub(page);
    assert.equal((await loaded()).length, 1);
    assert.match(await section().textContent(), /nothing of your text/);
    assert.equal(await section().locator(".hub-list button").count(), 10);
    assert.deepEqual(hub.log, []);
    await inspect(page, "hub-list");
  });

  test("what does not exist is said, and the list stays", async () => {
    await page.getByLabel("Or any other, by its name there").fill("tabtune/nothing");
    await page.keyboard.press("Enter");
    await banner(page, "model").waitFor();
    assert.match(await banner(page, "model").textContent(), /no public model tabtune\/nothing/);
    await inspect(page, "hub-missing");
    await banner(page, "model").getByRole("button", { name: "Close" }).click();
  });

  test("a model is looked up: size, licence, and whether it fits", async () => {
    await lookUp(page, `${hub.address}/tabtune/story`);
    await button(/^Download 11 MB$/).waitFor();
    const words = await section().textContent();
    assert.match(words, /tabtune\/story: 5\.4 M parameters, 11 MB to download\. Its licence is cc-by-4\.0/);
    assert.match(words, /this is commit 89abcde of its page\. Training on .* takes about .* that fits here/);
    await inspect(page, "hub-found");
  });

  test("of a GGUF file, too, before it is fetched", async () => {
    await button("Never mind").click();
    await lookUp(page, "tabtune/gguf/llama.gguf");
    await button(/^Download 327 kB$/).waitFor();
    assert.match(
      await section().textContent(),
      /llama\.gguf: .* parameters.*Training on .* takes about .* that fits here/,
    );
    await button("Never mind").click();
  });

  test("the Hub is asked about the list when a visitor says so: sizes, licences, memory", async () => {
    hub.log.length = 0;
    await button(/^Ask 127\.0\.0\.1:\d+ about all 10/).click();
    await button(/^Ask /).waitFor({ state: "detached" });
    const told = await section().locator(".hub-list li").allTextContents();
    assert.equal(told.length, 10);
    assert.match(
      told[0],
      /^HuggingFaceTB\/SmolLM2-135M 5\.4 M parameters, 11 MB, licence apache-2\.0; .* take about .* of memory\.$/,
    );
    assert.match(told[1], /cannot be had: the Hub has no public model/);
    assert.match(told[6], /cannot be had: the Hub gives this model only to those who accepted its terms/);
    assert.match(told[9], /11 MB, licence cc-by-4\.0; cannot be loaded here: .*rwkv/);
    assert.equal(hub.log.filter((line) => line.startsWith("api")).length, 10);
    assert.doesNotMatch(hub.log.join(), /whole/);
    await inspect(page, "hub-list-told");
    hub.log.length = 0;
    await button("HuggingFaceTB/SmolLM2-135M").first().click();
    await button(/^Download 11 MB$/).waitFor();
    assert.deepEqual(hub.log, [], "what the Hub has told is not asked again");
    await button("Never mind").click();
  });

  test("a token opens what the Hub does not give to everybody, and is stored nowhere", async () => {
    const secret = "hf_canaryOfTheToken";
    await page.getByText("For models that need a token").click();
    await page.getByLabel("Your access token").fill(secret);
    await page.keyboard.press("Enter");
    await inspect(page, "hub-token");
    await lookUp(page, "Qwen/Qwen3-0.6B");
    await button(/^Download 11 MB$/).waitFor();
    const kept = await page.evaluate(async () => {
      const files = [];
      for await (const [, folder] of await navigator.storage.getDirectory())
        for await (const file of folder.values()) files.push(await (await file.getFile()).text());
      return [location.href, JSON.stringify({ ...localStorage, ...sessionStorage }), document.cookie, ...files].join();
    });
    assert.doesNotMatch(`${kept}\n${page.requests.join("\n")}\n${hub.log.join("\n")}`, /canaryOfTheToken/);
    assert.ok(!hub.log.includes("a token went to the storage"));
    await button("Never mind").click();
    await lookUp(page, "tabtune/story");
    await button(/^Download 11 MB$/).waitFor();
  });

  test("its download can be paused, and goes on after a reload", async () => {
    hub.slow = 1000;
    await button(/^Download/).click();
    // At 5 %, the small files are there and a part of the weights.
    await section()
      .getByText(/Fetching tabtune\/story: .* of 11 MB \(([5-9]|\d\d) %\), .* a second, about .* left\./)
      .waitFor();
    // However long the pictures take, the download is not over.
    hub.slow = 10_000;
    await inspect(page, "hub-fetching");
    await button("Pause").click();
    await line()
      .getByText(/^tabtune\/story, commit 89abcde: .* of 11 MB so far$/)
      .waitFor();
    await inspect(page, "hub-paused");
    hub.slow = 0;
    await page.reload();
    await chooseSample(page);
    await openHub(page);
    hub.log.length = 0;
    await button("Go on").click();
    await button("Load tabtune/story").waitFor();
    assert.equal(hub.log.length, 1);
    assert.match(hub.log[0], /^storage model\.safetensors bytes=\d{6,}-$/);
    await inspect(page, "hub-fetched");
  });

  test("it trains, and its adapter names it; the rest of the page is locked all the time", async () => {
    await button("Load tabtune/story").click();
    await page.getByText("It comes from the Hugging Face Hub.").waitFor();
    assert.ok(await line().getByRole("button", { name: "Delete" }).isDisabled());
    const attempt = (address) =>
      fetch(address).then(
        () => "connected",
        () => "refused",
      );
    assert.equal(await page.evaluate(attempt, `${hub.address}/api/models/tabtune/story`), "refused");
    for (const worker of page.workers())
      assert.equal(await worker.evaluate(attempt, `${hub.address}/api/models/tabtune/story`), "refused");
    await button("Close").click();
    await startButton(page).click();
    await trained(page);
    const zip = unzipSync(await download(page, page.getByRole("button", { name: /^Download adapter/ })));
    const config = JSON.parse(Buffer.from(zip["adapter_config.json"]).toString());
    assert.equal(config.base_model_name_or_path, "tabtune/story");
    // Parts of the page may come from the browser's cache by now.
    await page.getByText(/^\d network requests? since the page was ready.*; 1 to the Hub, for the model/).waitFor();
    assert.deepEqual(
      page.faults.filter((fault) => !/Content Security Policy|Refused|Failed to fetch/.test(fault)),
      [],
    );
  });

  test("what is deleted is gone, and no word of the text went anywhere", async () => {
    await button("Change: The model").click();
    await button("Back to the built-in model").click();
    await page.getByText("It learnt the English of children's stories").waitFor();
    await page.getByText("Use another model").click();
    if (await button("Fetch one from the Hugging Face Hub…").isVisible())
      await button("Fetch one from the Hugging Face Hub…").click();
    await line().getByRole("button", { name: "Delete" }).click();
    await line().waitFor({ state: "detached" });
    assert.deepEqual(await storedFiles(), []);
    const everything = `${page.requests.join("\n")}\n${hub.log.join("\n")}`;
    assert.doesNotMatch(everything, /lighthouse|xylophone|marmalade|secret/);
  });

  test("a download that is cancelled leaves nothing, and the focus stays near", async () => {
    hub.slow = 700;
    await lookUp(page, "tabtune/story");
    await button(/^Download/).click();
    await section()
      .getByText(/Fetching tabtune\/story: .* of 11 MB/)
      .waitFor();
    while ((await storedFiles()).length < 2) await page.waitForTimeout(50);
    await section().getByRole("button", { name: "Cancel" }).click();
    await button("Look it up").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "hub-title");
    while ((await storedFiles()).length > 0) await page.waitForTimeout(50);
    await line().waitFor({ state: "detached" });
    assert.equal(await banner(page, "model").count(), 0);
  });
});

describe("a model of the Hub that is chosen", () => {
  let hub;
  let site;
  let page;
  before(async () => {
    hub = await hubServer({ "tabtune/story": { folder, paths, commit } });
    site = await serve(0, [hub.address, hub.storage]);
    page = await open({ at: site.address, hub: hub.address, hash: `#${SMALL}` });
  });
  after(async () => {
    await close(page);
    hub.close();
    site.close();
  });

  test("goes with everything that the browser keeps", async () => {
    await chooseSample(page);
    await openHub(page);
    await lookUp(page, "tabtune/story");
    await page.getByRole("button", { name: /^Download 11 MB/ }).click();
    const load = page.getByRole("button", { name: "Load tabtune/story" });
    await load.waitFor();
    await page.getByRole("button", { name: /^My adapters/ }).click();
    await page.getByRole("button", { name: "Delete everything…" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("Everything is deleted.").waitFor();
    await load.waitFor({ state: "detached" });
    await page.locator(".hub-stored li").waitFor({ state: "detached" });
    assert.deepEqual(page.faults, []);
  });
});

describe("on a host without headers", () => {
  let hub;
  let host;
  before(async () => {
    hub = await hubServer({ "tabtune/story": { folder, paths, commit } });
    host = await plainHost({ under: "/a/b/" });
  });
  after(() => {
    host.stop();
    hub.close();
  });

  /** A page that has looked up a model of a Hub that is not huggingface.co. */
  async function visit(offline) {
    hub.log.length = 0;
    const page = await open({ at: host.address, hub: hub.address, offline });
    if (offline) await page.evaluate(async () => void (await navigator.serviceWorker.ready));
    await page.reload();
    await chooseSample(page);
    await openHub(page);
    await lookUp(page, "tabtune/story");
    return page;
  }

  test("the service worker gives the download worker its policy", async () => {
    const page = await visit(true);
    await banner(page, "model").waitFor();
    assert.match(await banner(page, "model").textContent(), /policy of this page does not let its download worker/);
    assert.deepEqual(hub.log, []);
    await close(page);
  });

  test("without a service worker, there is no such policy", async () => {
    const page = await visit(false);
    await page.getByRole("button", { name: /^Download/ }).waitFor();
    assert.equal(hub.log.length, 3);
    await close(page);
  });
});
