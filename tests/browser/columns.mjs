/** Tables and records whose columns have names that nobody knows, and records that come as running text. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { atStep, banner, chosen, close, drop, inspect, open, SMALL, startButton, trained, trap } from "./browser.mjs";

const ROWS = 12;
const numbered = (write) => Array.from({ length: ROWS }, (_, index) => write(index + 1)).join("\n");
const german = `Frage;Antwort\n${numbered((n) => `Wie alt ist Tom ${n}?;Er ist ${n} Jahre alt.`)}\n`;
const unknownKeys = numbered((n) => JSON.stringify({ seite: n, absatz: `On page ${n} the fox ran home.` }));
const known = numbered((n) => JSON.stringify({ text: `On day ${n} the fox ran home.` }));

const picker = (page) => page.getByRole("group", { name: "Which column holds the text?" });
const box = (page, label) => picker(page).getByLabel(label, { exact: true });
const what = (page) => banner(page, "text").locator(".what");
const optionsOf = (box) => box.locator("option").allTextContents();
const rowsRead = async (page) =>
  Number((await page.locator(".counts").textContent()).match(/cut into ([\d,]+) row/)[1].replace(",", ""));
const trainedTokens = (page) => page.locator(".rows > li .chip:not(.untrained)").allTextContents();

describe("columns that nobody knows", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
    await page.getByText("0 network requests since the page was ready").waitFor();
  });
  after(() => close(page));

  test("of a table are listed below the error, and both of a pair can be chosen", async () => {
    await drop(page, { "fragen.csv": german });
    await picker(page).waitFor();
    assert.match(await what(page).textContent(), /fragen\.csv.*found Frage, Antwort/);
    assert.match(await banner(page, "text").textContent(), /Say below where the text is/);
    assert.equal(await page.locator("button.primary").count(), 1);
    assert.deepEqual(await optionsOf(box(page, "The text")), ["Frage", "Antwort"]);
    await inspect(page, "columns-text");
    await picker(page).getByLabel("One column holds what is asked").check();
    await inspect(page, "columns-pair");
    // A column cannot be both: the other box takes what this one had.
    await box(page, "What is asked (prompt)").selectOption("Antwort");
    assert.equal(await box(page, "The answer, which is learnt (completion)").inputValue(), "Frage");
    await box(page, "What is asked (prompt)").selectOption("Frage");
    await picker(page).getByRole("button", { name: "Read these columns" }).click();
    await chosen(page, "fragen.csv");
    assert.equal(await rowsRead(page), ROWS);
    const learnt = (await trainedTokens(page)).join("");
    assert.match(learnt, /Jahre·alt/);
    assert.doesNotMatch(learnt, /Wie·alt/);
    assert.equal(await picker(page).count(), 0);
    assert.equal(await banner(page, "text").count(), 0);
  });

  test("a choice that fails shows the new error, and stays to be corrected", async () => {
    await drop(page, { "seiten.jsonl": unknownKeys });
    await picker(page).waitFor();
    assert.deepEqual(await optionsOf(box(page, "The text")), ["absatz", "seite"]);
    await box(page, "The text").selectOption("seite");
    await picker(page).getByRole("button", { name: "Read this column" }).click();
    await page.waitForFunction(() => /is not a string/.test(document.querySelector("#text .what")?.textContent));
    assert.equal(await box(page, "The text").inputValue(), "seite");
    assert.match(await page.locator(".counts").textContent(), /fragen\.csv/);
    await inspect(page, "columns-wrong");
    await box(page, "The text").selectOption("absatz");
    await picker(page).getByRole("button", { name: "Read this column" }).click();
    await chosen(page, "seiten.jsonl");
    assert.equal(await rowsRead(page), ROWS);
    assert.match((await trainedTokens(page)).join(""), /·page·1·the·fox/);
  });

  test("can be chosen with the keyboard alone", async () => {
    await drop(page, { "fragen.csv": german });
    const focused = (words) =>
      page.waitForFunction((wanted) => document.activeElement?.textContent.trim().startsWith(wanted), words);
    await focused("Which column holds the text?");
    await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Tab");
    assert.equal(await box(page, "What is asked (prompt)").inputValue(), "Frage");
    await page.keyboard.press("ArrowDown");
    assert.equal(await box(page, "What is asked (prompt)").inputValue(), "Antwort");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await focused("What the model will read");
    await chosen(page, "fragen.csv");
    assert.match((await trainedTokens(page)).join(""), /Wie·alt/);
  });

  test("are those of all files, in order, and running text beside them stays what it is", async () => {
    const other = `Antwort;Quelle\n${numbered((n) => `Das steht auf Seite ${n}.;Heft`)}\n`;
    await drop(page, { "eins.csv": german, "zwei.csv": other, "drei.txt": "The fox ran home. ".repeat(40) });
    await picker(page).waitFor();
    const names = ["Frage", "Antwort", "Quelle"];
    assert.deepEqual(await optionsOf(box(page, "The text")), names);
    await picker(page).getByRole("button", { name: "Read this column" }).click();
    await page.waitForFunction(() =>
      /zwei\.csv.*Frage is missing/.test(document.querySelector("#text .what")?.textContent),
    );
    await box(page, "The text").selectOption("Antwort");
    await picker(page).getByRole("button", { name: "Read this column" }).click();
    await chosen(page, "3 files");
    assert.ok((await rowsRead(page)) > 2 * ROWS);
    assert.doesNotMatch(await page.locator("#text").textContent(), /no columns to choose from/);
    assert.deepEqual(page.faults, []);
  });

  for (const [name, content] of Object.entries({
    "cut.jsonl": `${known}\n{"text": \n`,
    "later.jsonl": `${known}\n{"body": "The fox."}\n`,
    "fields.csv": "text,page\nThe fox,1\nThe fox ran, and ran,2\n",
    "number.jsonl": `{"text": 7}\n${known}`,
    "nan.jsonl": `{"text": NaN}\n${known}`,
  }))
    test(`nobody is asked for them where that is not what is wrong: ${name}`, async () => {
      await drop(page, { "fragen.csv": german });
      await picker(page).waitFor();
      await drop(page, { [name]: content });
      await page.waitForFunction((name) => document.querySelector("#text .what")?.textContent.includes(name), name);
      assert.equal(await picker(page).count(), 0);
      assert.doesNotMatch(await banner(page, "text").textContent(), /Say below/);
    });

  test("are forgotten when the error is closed", async () => {
    await drop(page, { "fragen.csv": german });
    await picker(page).waitFor();
    await banner(page, "text").getByRole("button", { name: "Close" }).click();
    assert.equal(await picker(page).count(), 0);
    assert.deepEqual(page.faults, []);
  });
});

describe("chosen columns", () => {
  test("outlive other rows, an engine that stops, and a tab that is closed", async () => {
    const hash = `#${SMALL}&steps=4000&evalEvery=2000&sampleEvery=4000`;
    const page = await open({ hash });
    await drop(page, { "fragen.csv": german });
    await picker(page).getByRole("button", { name: "Read this column" }).click();
    await page.getByRole("button", { name: "Use this text" }).click();
    await startButton(page).waitFor();
    const rows = () => page.locator("#text .done-line").textContent();
    assert.match(await rows(), new RegExp(`${ROWS} rows`));

    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Advanced").click();
    await page.getByRole("spinbutton", { name: "Length of a row" }).fill("24");
    await page.keyboard.press("Tab");
    await page.getByRole("button", { name: "Close" }).click();
    await startButton(page).waitFor();
    assert.match(await rows(), new RegExp(`${ROWS} rows`));

    await startButton(page).click();
    await atStep(page, 2);
    await trap(page);
    await banner(page, "train").waitFor();
    await page.getByRole("button", { name: /^Train again/ }).click();
    await banner(page, "train").waitFor({ state: "detached" });
    await atStep(page, 2);
    assert.equal(await banner(page, "text").count(), 0);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("is saved, so you may close this tab").waitFor();
    const next = await open({ beside: page });
    await page.close();
    await next.getByRole("button", { name: /^Continue where you left off/ }).click();
    await atStep(next, 6);
    assert.equal(await banner(next, "text").count(), 0);
    assert.match(await next.locator("#text .done-line").textContent(), new RegExp(`${ROWS} rows`));
    await next.getByRole("button", { name: "Stop and keep" }).click();
    await trained(next);
    assert.deepEqual(next.faults, []);
    await close(next);
  });
});

describe("records that come as running text", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
    await page.getByText("0 network requests since the page was ready").waitFor();
  });
  after(() => close(page));

  const asRecords = () => page.getByRole("button", { name: "Read it as records" });
  const paste = async (words) => {
    await page.getByLabel("Or paste it here").fill(words);
    await page.getByRole("button", { name: "Read the pasted text" }).click();
  };

  test("a pasted list of JSON records is read as records at the press of a button", async () => {
    await paste(known);
    await asRecords().waitFor();
    assert.match((await trainedTokens(page)).join(""), /[{"]+text/);
    await inspect(page, "looks-like-records");
    await asRecords().click();
    await asRecords().waitFor({ state: "detached" });
    await chosen(page, "Pasted text");
    assert.equal(await rowsRead(page), ROWS);
    assert.doesNotMatch((await trainedTokens(page)).join(""), /[{"]/);
    assert.equal(await page.locator(".note").count(), 0);
  });

  test("so is a table, and a file beside it keeps its name", async () => {
    const table = `prompt,completion\n${numbered((n) => `Where is fox ${n}?,At home.`)}\n`;
    await drop(page, { "my.table.txt": table, "story.txt": "The fox ran home. ".repeat(40) });
    await asRecords().click();
    await asRecords().waitFor({ state: "detached" });
    const learnt = (await trainedTokens(page)).join("");
    assert.match(learnt, /At·home\.|The·fox/);
    assert.doesNotMatch(learnt, /prompt,completion|Where·is/);
    assert.equal(await banner(page, "text").count(), 0);
  });

  test("records with unknown keys lead to the question for the column", async () => {
    await paste(unknownKeys);
    await asRecords().click();
    await picker(page).getByRole("button", { name: "Read this column" }).click();
    await asRecords().waitFor({ state: "detached" });
    assert.equal(await rowsRead(page), ROWS);
    assert.match((await trainedTokens(page)).join(""), /·page·1/);
    assert.deepEqual(page.faults, []);
  });
});
