/** What people drop and choose: folders, adapters, pictures, links, and words from other windows. */

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  artefacts,
  atStep,
  banner,
  chooseSample,
  chosen,
  close,
  drop,
  inspect,
  open,
  SMALL,
  samplesFolder,
  startButton,
} from "./browser.mjs";

const { zipSync, strToU8 } = createRequire(new URL("../../www/package.json", import.meta.url))("fflate");
const cook = readFileSync(join(samplesFolder, "cook.txt"), "utf8").slice(0, 3000);
const png = Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1");
const what = (page) => banner(page, "text").locator(".what").textContent();
const hint = (page) => banner(page, "text").locator("p").nth(1).textContent();
const notes = async (page) => (await page.locator(".chosen .note").allTextContents()).join("\n");
const overlay = (page) => page.locator(".drop-hint");

let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "tabtune-"));
});
after(() => rmSync(folder, { recursive: true }));

/** Writes files, given as paths with contents, below a new folder. */
function make(name, files) {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name, path)), { recursive: true });
    writeFileSync(join(folder, name, path), content);
  }
  return join(folder, name);
}

/** Moves files or folders of the disk over the page, as a file manager does, and lets them fall. */
async function dragIn(page, paths, whileHeld = async () => {}) {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  const send = (type) => session.send("Input.dispatchDragEvent", { type, x: 600, y: 300, data });
  await send("dragEnter");
  await send("dragOver");
  await whileHeld();
  await send("drop");
  await session.detach();
}

/** Something that is no file, from another window. */
function dragWords(page, types, event = "drop", target = "footer") {
  return page.evaluate(
    ([types, event, target]) => {
      const dataTransfer = new DataTransfer();
      for (const [type, words] of Object.entries(types)) dataTransfer.setData(type, words);
      const drag = new DragEvent(event, { dataTransfer, bubbles: true, cancelable: true });
      return document.querySelector(target).dispatchEvent(drag);
    },
    [types, event, target],
  );
}

/** An adapter of the built-in model that changes nothing. */
function adapterFiles() {
  const base = fileURLToPath(new URL("../../www/public/base/config.json", import.meta.url));
  const { hidden_size: hidden, num_hidden_layers: layers } = JSON.parse(readFileSync(base, "utf8"));
  const config = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: "Built-in story model",
    r: 1,
    lora_alpha: 2,
    target_modules: ["q_proj"],
  };
  const header = {};
  let end = 0;
  for (let layer = 0; layer < layers; layer += 1)
    for (const [side, shape] of [
      ["A", [1, hidden]],
      ["B", [hidden, 1]],
    ]) {
      const name = `base_model.model.model.layers.${layer}.self_attn.q_proj.lora_${side}.weight`;
      header[name] = { dtype: "F32", shape, data_offsets: [end, end + 4 * hidden] };
      end += 4 * hidden;
    }
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  return {
    "adapter_config.json": JSON.stringify(config),
    "adapter_model.safetensors": Buffer.concat([size, json, Buffer.alloc(end)]),
    "README.md": "An adapter that changes nothing.",
  };
}

const ready = async (hash = "") => {
  const page = await open({ hash: `#${SMALL}${hash}` });
  await page.getByText("0 network requests since the page was ready").waitFor();
  return page;
};

describe("a folder", () => {
  let page;
  before(async () => {
    page = await ready();
  });
  after(() => close(page));

  test("is read file by file, and what is left out is named", async () => {
    const notebook = make("notebook", {
      "b/second.md": cook.slice(1000),
      "a first.txt": cook.slice(0, 1000),
      README: "A notebook.",
      "dog.png": png,
      "letter.pdf": "%PDF-1.7 and so on",
      "b/empty.txt": "",
      ".hidden/secret.txt": "Not for you.",
      "latin.txt": Buffer.from("Caf\xe9 au lait", "latin1"),
    });
    await dragIn(page, [notebook], async () => {
      assert.equal(await overlay(page).textContent(), "Drop your text to read it here");
    });
    await chosen(page, "notebook");
    assert.match(await notes(page), /3 text files read, 5 others left out/);
    for (const name of ["dog.png", "letter.pdf", "b/empty.txt", ".hidden", "latin.txt"])
      assert.ok((await notes(page)).includes(name), name);
    await inspect(page, "folder-read");
    assert.equal(await banner(page, "text").count(), 0);
    assert.equal(await overlay(page).count(), 0);
  });

  test("beside a file is read, too, and the file is taken as it is", async () => {
    await dragIn(page, [make("more", { "one.txt": cook }), join(make("loose", { "two.txt": cook }), "two.txt")]);
    await chosen(page, "2 files and folders");
    assert.match(await notes(page), /2 text files read/);
  });

  test("without a text is refused, and the text from before stays", async () => {
    await dragIn(page, [make("photos", { "a.png": png, "b.png": png })]);
    await banner(page, "text").waitFor();
    assert.match(await what(page), /photos holds no text file, only photos\/a\.png, photos\/b\.png/);
    assert.match(await page.locator(".counts").textContent(), /2 files and folders/);
    await inspect(page, "folder-without-text");
  });

  test("of a model leads to where models are loaded", async () => {
    await dragIn(page, [make("llama", { "config.json": "{}", "tokenizer.json": "{}", "model.safetensors": "x" })]);
    await page.getByText("is a model, no text").waitFor();
    assert.match(await hint(page), /card 2/);
    assert.deepEqual(page.faults, []);
  });
});

describe("an adapter", () => {
  let page;
  before(async () => {
    page = await ready();
  });
  after(() => close(page));

  const opened = (name) => page.getByText(`opened from ${name}`).waitFor();
  const zip = (name, files) => {
    const packed = Object.entries(files).map(([path, content]) => [path, strToU8(content.toString("latin1"), true)]);
    const path = join(folder, name);
    writeFileSync(path, zipSync(Object.fromEntries(packed)));
    return path;
  };

  test("in a zip is opened through the button for texts", async () => {
    await page.locator("#text input[type=file]").setInputFiles(zip("mine.zip", adapterFiles()));
    await opened("mine.zip");
    assert.match(await page.locator("#text [role=status]").textContent(), /mine\.zip is an adapter, no text.*card 4/);
    await page.waitForFunction(() => document.activeElement?.id === "keep-title");
    await inspect(page, "adapter-in-card-1");
  });

  test("in a folder is opened where it is dropped", async () => {
    await dragIn(page, [make("mine", adapterFiles())]);
    await opened("adapter_model.safetensors");
    assert.match(await page.locator("#text [role=status]").textContent(), /left out: mine\/README\.md/);
  });

  test("that is none is said to be a zip without one", async () => {
    await dragIn(page, [zip("letters.zip", { "a.txt": cook })]);
    await banner(page, "text").waitFor();
    assert.match(await what(page), /letters\.zip is a ZIP archive, and there is no adapter in it/);
    assert.match(await hint(page), /Unpack it/);
    assert.equal(await page.locator("#text [role=status]").count(), 0);
    await inspect(page, "zip-without-adapter");
    assert.deepEqual(page.faults, []);
  });
});

describe("what is no text", () => {
  let page;
  before(async () => {
    page = await ready();
  });
  after(() => close(page));

  for (const [name, content, says, advice] of [
    ["letter.pdf", "%PDF-1.7 and so on", /letter\.pdf is a PDF: .*copy its text and paste/, /./],
    ["dog.png", png.toString("latin1"), /dog\.png is a picture \(PNG\): the model learns from words only/, /./],
    ["letter.docx", "PK\x03\x04\x14\0word/document.xml\xff", /letter\.docx is a Word document: .*copy its text/, /./],
    ["latin.txt", `Caf\xe9 ${cook}`, /latin\.txt is not UTF-8/, /paste/],
    [
      "one.txt",
      "Hello there",
      /too short: it has 2 words, about \d0 are needed \(\d+ tokens, one row needs 33\)/,
      /rows/,
    ],
    ["list.jsonl", '{"text": "A fine day."}\n{oops}\n', /line 2/, /\{"text": "A fine day\."\}/],
  ])
    test(`is named, with a way to get at its text: ${name}`, async () => {
      await page.evaluate(
        ([name, content]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([Uint8Array.from(content, (letter) => letter.charCodeAt(0))], name));
          document.querySelector("footer").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        },
        [name, content],
      );
      await page.waitForFunction(
        (name) => document.querySelector("#text .what")?.textContent.includes(name),
        name.replace("one.txt", "too short"),
      );
      assert.match(await what(page), says);
      assert.match(await hint(page), advice);
      await page.waitForFunction(() => document.activeElement?.id === "text-title");
      await banner(page, "text").getByRole("button", { name: "Close" }).click();
    });
});

describe("texts with something to know about", () => {
  let page;
  before(async () => {
    page = await ready();
  });
  after(() => close(page));

  const chat = Array.from({ length: 40 }, (_, n) => `[12.03.24, 10:${10 + n}:01] Anna: Hello number ${n}`).join("\n");
  for (const [name, content, says] of [
    ["chat.txt", chat, /40 of 40 lines begin with a time/],
    ["a.txt", "a".repeat(20_000), /repeats itself/],
  ])
    test(`are read, and it is said: ${name}`, async () => {
      await drop(page, { [name]: content });
      await chosen(page, name);
      assert.match(await notes(page), says);
      await inspect(page, `said-of-${name.split(".")[0]}`);
    });

  test("or are simply read", async () => {
    await drop(page, { "pairs.tsv": `prompt\tcompletion\n${"Who is there?\tA fox.\n".repeat(20)}` });
    await chosen(page, "pairs.tsv");
    assert.match(await page.locator(".counts").textContent(), /cut into 20 rows/);
    assert.match(
      await page.locator(".counts").textContent(),
      /1 row is held out: the model never learns from it, and is tested on it\./,
    );
    await drop(page, { README: cook });
    await chosen(page, "README");
    assert.equal(await notes(page), "");
  });
});

describe("what is dragged and is no file", () => {
  let page;
  before(async () => {
    page = await ready();
  });
  after(() => close(page));

  test("promises nothing", async () => {
    await dragWords(page, { "text/plain": cook }, "dragover");
    assert.equal(await overlay(page).count(), 0);
  });

  test("is taken if it is words from elsewhere", async () => {
    await dragWords(page, { "text/plain": cook });
    await chosen(page, "Dropped text");
  });

  test("is left to the box that it is dropped on", async () => {
    assert.equal(await dragWords(page, { "text/plain": "Hello" }, "drop", "#paste"), true);
    assert.equal(await dragWords(page, { "text/plain": "Hello" }, "drop", "footer"), false);
    await banner(page, "text").waitFor();
  });

  test("is refused in words if it is a link", async () => {
    await dragWords(page, { "text/uri-list": "https://example.org/", "text/plain": "https://example.org/" });
    await page.getByText("That is a link").waitFor();
    assert.match(await page.locator(".counts").textContent(), /Dropped text/);
  });

  test("does nothing if it comes from the page itself", async () => {
    await banner(page, "text").getByRole("button", { name: "Close" }).click();
    await page.evaluate(() =>
      document.querySelector("h1").dispatchEvent(new DragEvent("dragstart", { bubbles: true })),
    );
    await dragWords(page, { "text/plain": cook.slice(0, 500) });
    await page.evaluate(() => document.querySelector("h1").dispatchEvent(new DragEvent("dragend", { bubbles: true })));
    assert.equal(await page.locator(".reading:not(:empty)").count(), 0);
    assert.equal(await banner(page, "text").count(), 0);
    assert.deepEqual(page.faults, []);
  });
});

describe("a drop during training", () => {
  test("says why nothing comes of it, before and after", async () => {
    const page = await ready("&steps=60000&evalEvery=60000&sampleEvery=60000");
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 1);
    const text = await page.locator("#text .done-line").textContent();
    const path = join(make("later", { "later.txt": cook }), "later.txt");
    await dragIn(page, [path], async () => {
      assert.match(await overlay(page).textContent(), /The model is training/);
      await page.screenshot({ path: join(artefacts, "screens", "drop-while-training.png") });
    });
    await banner(page, "train").waitFor();
    assert.match(await banner(page, "train").textContent(), /later\.txt was not read, because the model is training/);
    await dragIn(page, [make("adapter", adapterFiles())]);
    await page.getByText("adapter was not read, because the model is training").waitFor();
    assert.equal(await page.locator("#text .done-line").textContent(), text);
    await inspect(page, "dropped-while-training");
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});
