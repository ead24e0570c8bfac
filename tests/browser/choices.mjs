/** Texts chosen quickly one after the other: the screen shows what a click will use, and the newest choice wins. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  banner,
  chosen,
  close,
  drop,
  engineWorker,
  inspect,
  open,
  SMALL,
  samplesFolder,
  startButton,
} from "./browser.mjs";

const cook = readFileSync(join(samplesFolder, "cook.txt"), "utf8").slice(0, 3000);
const records = Array.from({ length: 12 }, (_, n) => JSON.stringify({ text: `On day ${n} the fox ran home.` })).join(
  "\n",
);
const table = `Frage;Antwort\n${"Wie alt ist Tom?;Er ist drei Jahre alt.\n".repeat(12)}`;

/** What can be done, the text that is on show afterwards, and what the banner says if it cannot be used. */
const choices = {
  "a sample": { act: ["click", "A cook's book"], name: "A cook's book" },
  "a file": { act: ["choose", "story.txt", cook], name: "story.txt" },
  "a drop": { act: ["drop", "notes.md", cook], name: "notes.md" },
  "a paste": { act: ["paste", cook], name: "Pasted text" },
  "a picture": { act: ["drop", "dog.png", "\x89PNG\0\0"], refused: /dog\.png/ },
  "a short paste": { act: ["paste", "Too short."], refused: /one row needs/ },
  "unknown columns": { act: ["drop", "fragen.csv", table], refused: /fragen\.csv/ },
};
/** These read the text again that is on show, or was refused. */
const again = {
  records: { act: ["click", "Read it as records"], name: "old", start: { "old.txt": records } },
  words: { act: ["click", "Read only its text"], name: "old", start: { "old.html": `<html><p>${cook}</p></html>` } },
  columns: { act: ["click", "Read this column"], name: "old", start: { "old.csv": table } },
};

const useButton = (page) => page.getByRole("button", { name: "Use this text" });
const box = (page) => page.getByLabel("Or paste it here");
const nameOnShow = async (page) => (await page.locator(".counts strong").textContent()).replace(/\.\w+$/, "");
/** Long enough for what the worker has said to be on the screen. */
const frames = (page) =>
  page.evaluate(() => new Promise((resolve) => setTimeout(() => requestAnimationFrame(resolve))));
const nothingIsRead = (page) => page.locator(".reading:not(:empty)").waitFor({ state: "detached" });

/** Makes choices, a frame after each other. A button that is off or not there does nothing. */
function choose(page, ...acts) {
  return page.evaluate(async (acts) => {
    const button = (label) =>
      [...document.querySelectorAll("button")].find((each) => each.textContent.startsWith(label));
    const holding = (name, content) => {
      const transfer = new DataTransfer();
      const bytes = Uint8Array.from(content, (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([bytes], name));
      return transfer;
    };
    const make = {
      click: (label) => button(label)?.click(),
      choose: (name, content) => {
        const input = document.querySelector("#text input[type=file]");
        input.files = holding(name, content).files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      },
      drop: (name, content) => {
        const drop = new DragEvent("drop", { dataTransfer: holding(name, content), bubbles: true, cancelable: true });
        document.querySelector("footer").dispatchEvent(drop);
      },
      paste: (words) => {
        const area = document.querySelector("#paste");
        area.value = words;
        area.dispatchEvent(new InputEvent("input", { bubbles: true }));
        return new Promise(requestAnimationFrame).then(() => button("Read the pasted text").click());
      },
    };
    for (const [kind, ...of] of acts) {
      await make[kind](...of);
      await new Promise(requestAnimationFrame);
    }
  }, acts);
}

/** From here on, the worker keeps its answer to the next call that reads a text. Returns a function that lets it go. */
async function holdBack(page) {
  const worker = await engineWorker(page);
  await worker.evaluate(() => {
    const post = self.postMessage;
    const kept = [];
    let id;
    const note = ({ data }) => {
      if (id === undefined && data.call === "dataset") id = data.id;
    };
    self.addEventListener("message", note);
    self.postMessage = (message, ...rest) => {
      if (message.id !== undefined && message.id === id) kept.push([message, ...rest]);
      else post.call(self, message, ...rest);
    };
    self.letGo = () => {
      self.removeEventListener("message", note);
      self.postMessage = post;
      for (const each of kept) post.call(self, ...each);
      return kept.length;
    };
  });
  return () => worker.evaluate(() => self.letGo());
}

async function begin(page, files) {
  await drop(page, files);
  const [name] = Object.keys(files);
  await page.waitForFunction((name) => document.querySelector("#text").textContent.includes(name), name);
  await nothingIsRead(page);
}

/** What the screen shows in the end: the newest text that can be used, and the error of the newest choice. */
async function shows(page, name, refused) {
  assert.equal(await nameOnShow(page), name.replace(/\.\w+$/, ""));
  assert.equal(await useButton(page).isEnabled(), true);
  assert.equal(await banner(page, "text").count(), refused ? 1 : 0);
  if (refused) assert.match(await banner(page, "text").locator(".what").textContent(), refused);
}

describe("two choices, one right after the other", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
    await page.getByText("0 network requests since the page was ready").waitFor();
  });
  after(() => close(page));

  for (const [first, one] of Object.entries({ ...choices, ...again }))
    for (const [second, other] of Object.entries(choices))
      test(`${first}, then ${second}`, async () => {
        await begin(page, { "before.txt": cook });
        if (one.start) await begin(page, one.start);
        await choose(page, one.act, other.act);
        await nothingIsRead(page);
        await shows(page, other.name ?? one.name ?? "before.txt", other.refused);
        assert.deepEqual(page.faults, []);
      });
});

describe("an answer that comes late", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
    await page.getByText("0 network requests since the page was ready").waitFor();
  });
  after(() => close(page));

  for (const [first, one] of Object.entries(choices))
    for (const [second, other] of Object.entries(choices))
      test(`to ${first} changes nothing that ${second} said`, async () => {
        await begin(page, { "before.txt": cook });
        const letGo = await holdBack(page);
        await choose(page, one.act);
        await page.locator(".reading:not(:empty)").waitFor();
        await choose(page, other.act);
        if (other.name) await chosen(page, other.name);
        else await banner(page, "text").waitFor();
        assert.equal(await letGo(), 1);
        await nothingIsRead(page);
        await frames(page);
        await shows(page, other.name ?? one.name ?? "before.txt", other.refused);
        assert.deepEqual(page.faults, []);
      });
});

describe("while a text is being read", () => {
  let page;
  let letGo;
  before(async () => {
    page = await open({ hash: `#${SMALL}`, device: "gpu" });
    await page.getByText("0 network requests since the page was ready").waitFor();
  });
  after(() => close(page));

  for (const [kind, { act, start }] of Object.entries(again))
    test(`what is on show says that it is old and cannot be used: ${kind}`, async () => {
      await begin(page, { "before.txt": cook });
      await begin(page, start);
      letGo = await holdBack(page);
      await choose(page, ["click", "A cook's book"]);
      await page.getByText(/^Reading A cook's book… It will take the place of /).waitFor();
      assert.equal(await page.locator(".chosen h3").textContent(), "The text from before");
      assert.equal(await useButton(page).isEnabled(), false);
      assert.equal(await page.getByRole("button", { name: "A cook's book" }).getAttribute("aria-pressed"), "true");
      assert.ok(
        !(await page
          .getByRole("button", { name: act[1] })
          .isEnabled({ timeout: 100 })
          .catch(() => false)),
      );
      if (kind === "words") await inspect(page, "text-being-read");
      await page.locator("h1").click();
      await page.keyboard.press("Enter");
      assert.equal(await page.locator("#text").getAttribute("class"), "card open");
      await letGo();
      await chosen(page, "A cook's book");
      await shows(page, "A cook's book");
      assert.equal(await page.locator(".chosen h3").textContent(), "What the model will read");
    });

  test("nothing is trained, and a new text is looked at first", async () => {
    await useButton(page).click();
    await startButton(page).waitFor();
    letGo = await holdBack(page);
    await choose(page, choices["a drop"].act);
    await page.getByText("Reading notes.md… It will take the place of A cook's book.").waitFor();
    assert.equal(await startButton(page).isEnabled(), false);
    await inspect(page, "text-being-replaced");
    await letGo();
    await chosen(page, "notes.md");
    assert.equal(await page.locator("#text").getAttribute("class"), "card open");
    assert.equal(await page.locator("#train").getAttribute("class"), "card waiting");
    await useButton(page).click();
    await startButton(page).waitFor();
    assert.match(await page.locator("#text .done-line").textContent(), /notes\.md/);
    assert.deepEqual(page.faults, []);
  });

  test("it need not wait until the machine has been measured", async () => {
    const worker = await engineWorker(page);
    await page.getByRole("button", { name: "Change: Your text" }).click();
    // From here on, what is measured does not come back from the graphics card.
    await worker.evaluate(() => {
      const map = GPUBuffer.prototype.mapAsync;
      const gate = new Promise((resolve) => {
        self.open = resolve;
      });
      self.asked = new Promise((resolve) => {
        GPUBuffer.prototype.mapAsync = async function (...range) {
          resolve();
          await gate;
          return map.apply(this, range);
        };
      });
    });
    await choose(page, choices["a sample"].act);
    await chosen(page, "A cook's book");
    await worker.evaluate(() => self.asked);
    await choose(page, choices["a file"].act);
    await chosen(page, "story.txt");
    await useButton(page).click();
    await worker.evaluate(() => self.open());
    await startButton(page).waitFor();
    assert.deepEqual(page.faults, []);
  });
});

describe("the paste box", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
    await begin(page, { "before.txt": cook });
  });
  after(() => close(page));

  test("that is edited makes what was read before old", async () => {
    await box(page).fill(cook.slice(0, 2000));
    await page.getByText("The words in the box above have not been read.").waitFor();
    assert.equal(await page.locator(".chosen h3").textContent(), "The text from before");
    assert.equal(await useButton(page).isEnabled(), false);
    assert.deepEqual(await page.locator("button.primary").allTextContents(), ["Read the pasted text"]);
    await inspect(page, "paste-not-read");
    await page.getByRole("button", { name: "Read the pasted text" }).click();
    await chosen(page, "Pasted text");
    await shows(page, "Pasted text");
    await box(page).fill(cook.slice(0, 2500));
    assert.equal(await useButton(page).isEnabled(), false);
    await box(page).fill(cook.slice(0, 2000));
    await shows(page, "Pasted text");
  });

  test("gives way to a text that is chosen later, and to nothing when it is emptied", async () => {
    await box(page).fill("half a thought");
    await drop(page, { "later.txt": cook });
    await chosen(page, "later.txt");
    await shows(page, "later.txt");
    await box(page).fill("half a thought more");
    assert.equal(await useButton(page).isEnabled(), false);
    await box(page).fill("");
    await shows(page, "later.txt");
    assert.deepEqual(page.faults, []);
  });
});
