/** The way on is in sight: what a step led to, and the button that goes on from it, fit the window together. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  chosen,
  close,
  downloadButton,
  drop,
  open,
  SMALL,
  screen,
  sizes,
  startButton,
  trained,
  written,
} from "./browser.mjs";

const useButton = (page) => page.getByRole("button", { name: "Use this text" });
/** Letters that the model's tokenizer does not know: every row has many tokens, and there is a warning. */
const GREEK = "Το καράβι έφυγε από το λιμάνι με τον άνεμο στα πανιά και κανείς δεν ήξερε πότε θα γυρίσει. ".repeat(40);
const LONG_NAME = `${"a very long name ".repeat(11)}.txt`;

for (const size of sizes)
  describe(`at ${size.width} × ${size.height}`, () => {
    test("from the text to the result, every next step is in sight", async () => {
      const page = await open({ hash: `#${SMALL}&steps=4&evalEvery=2` });
      await page.setViewportSize(size);
      await page.getByRole("button", { name: "A captain's log" }).click();
      await useButton(page).waitFor();
      await inSight(page, page.getByRole("heading", { name: "What the model will read" }), useButton(page));
      await picture(page, "text");
      await useButton(page).click();
      await startButton(page).waitFor();
      await inSight(page, page.getByRole("heading", { name: "Train" }), startButton(page));
      await startButton(page).click();
      await trained(page);
      await written(page);
      await picture(page, "result");
      await inSight(
        page,
        page.locator("#train .done-line"),
        page.getByRole("heading", { name: "Try it and keep it" }),
        page.getByRole("heading", { name: "Before" }),
        ...(size.width < 640 ? [] : [downloadButton(page)]),
      );
      assert.deepEqual(page.faults, []);
      await close(page);
    });

    test("a text with a long name, long rows and a warning leaves room for the button", async () => {
      const page = await open({ hash: `#${SMALL}&seqLen=128` });
      await page.setViewportSize(size);
      await page.getByText("0 network requests since the page was ready").waitFor();
      await drop(page, { [LONG_NAME]: GREEK });
      await chosen(page, LONG_NAME);
      await page.locator(".chosen .note").waitFor();
      await inSight(page, page.getByRole("heading", { name: "What the model will read" }), useButton(page));
      await picture(page, "text-with-warning");
      await page.getByText("4 more rows").click();
      assert.equal(await page.locator(".rows > li:visible").count(), 5);
      await close(page);
    });

    async function picture(page, name) {
      await page.screenshot({ path: screen(`in-sight-${name}-${size.width}`) });
    }
  });

/** All of it at once, in a moment: the page scrolls once it is drawn. */
async function inSight(page, ...wanted) {
  const { height } = page.viewportSize();
  const fits = (box) => box && box.y >= 0 && box.y + box.height <= height;
  const boxes = () => Promise.all(wanted.map((each) => each.boundingBox()));
  let found = await boxes();
  for (let tries = 0; tries < 50 && !found.every(fits); tries++) {
    await page.waitForTimeout(100);
    found = await boxes();
  }
  for (const [index, box] of found.entries())
    assert.ok(fits(box), `${wanted[index]}: ${JSON.stringify(box)} of ${height} px`);
}
