/** A web page is read with its tags, or only its text; nothing in it runs and nothing is fetched. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { chosen, close, drop, inspect, open, SMALL, samplesFolder } from "./browser.mjs";

const cook = readFileSync(join(samplesFolder, "cook.txt"), "utf8").slice(0, 1500);
/** The first rows as one text: a row begins with the last token of the row before. */
const learnt = (page) =>
  page
    .locator(".rows:not([start]) .chip, .rows[start] .chip:not(:first-child)")
    .allTextContents()
    .then((tokens) => tokens.join(""));

describe("a web page", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
    await page.getByText("0 network requests since the page was ready").waitFor();
  });
  after(() => close(page));

  const markup = `<!doctype html><html><head><title>Cook</title><style>p { color: red }</style></head>
    <body style="margin: 0" onload="self.ran = 1"><script>self.ran = 1</script>
    <nav><button>Menu</button></nav><h1>Soup</h1>
    <p onclick="alert('a > b')" style='color: red'>First <b class=x onclick=run()>chop</b>
    the   leeks.</p><ul><li>One leek<li>Two eggs</ul><img src="/nothing.png" onerror="self.ran = 1">
    <table><tr><td>Salt<td>a pinch</table><pre>stir
    twice</pre><p>${cook}</p></body></html>`;

  for (const name of ["soup.html", "soup.txt"])
    test(`is read with its tags at first, and only its text at the press of a button: ${name}`, async () => {
      await drop(page, { [name]: markup });
      await chosen(page, name);
      assert.match(await learnt(page), /html/);
      assert.match(await page.locator(".chosen .note").textContent(), /is a web page/);
      if (name === "soup.html") await inspect(page, "web-page");
      await page.getByRole("button", { name: "Read only its text" }).click();
      await page.getByRole("button", { name: "Read only its text" }).waitFor({ state: "detached" });
      const words = (await learnt(page)).replaceAll("·", " ");
      assert.match(words, /^Soup↵↵First chop the leeks\.↵↵One leek↵+Two eggs↵↵Salt⇥a pinch↵↵stir↵twice↵/);
      assert.doesNotMatch(words, /[<>]|Menu|color|self\.ran/);
      assert.equal(await page.evaluate(() => self.ran), undefined);
      assert.equal(page.requests.filter((url) => url.includes("nothing.png")).length, 0);
      assert.deepEqual(page.faults, []);
    });
});
