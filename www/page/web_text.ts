/** The text of a web page: what stands in it to be read, block by block. Nothing in the page is run or fetched. */

/** Reading markup is a Trusted Types sink: only this module has the policy, and no markup leaves it. */
const policy = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy("tabtune-web-page", {
  createHTML: (markup) => markup,
});

interface TrustedTypes {
  createPolicy(name: string, rules: { createHTML(markup: string): string }): { createHTML(markup: string): unknown };
}

const SCRIPTS = /<(script|style)\b[\s\S]*?<\/\1\s*>/gi;
const TAG = /<[a-z](?:"[^"]*"|'[^']*'|[^"'>])*>/gi;
const HANDLER = /\s(?:on[a-z]+|style)\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>]*)/gi;

const NOT_READ = "script, style, noscript, template, svg, iframe, object, select, button, [hidden]";
const LINE =
  "address, article, aside, dd, details, div, dl, dt, figcaption, figure, footer, form, header, hr, li, main, ";
const BLOCKS = `${LINE}nav, ol, section, summary, tr, ul`;
/** Blocks with an empty line around them. */
const APART = "blockquote, h1, h2, h3, h4, h5, h6, p, pre, table";

export function webText(markup: string): string {
  // None of this would run, but the browser would report each as refused.
  const quiet = markup.replace(SCRIPTS, "").replace(TAG, (tag) => tag.replace(HANDLER, ""));
  const trusted = (policy?.createHTML(quiet) ?? quiet) as string;
  const { body } = new DOMParser().parseFromString(trusted, "text/html");
  for (const element of body.querySelectorAll(NOT_READ)) element.remove();
  const texts = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { currentNode: node } = texts;
    if (!node.parentElement?.closest("pre")) node.nodeValue = (node.nodeValue ?? "").replace(/\s+/g, " ");
  }
  for (const element of body.querySelectorAll("br")) element.replaceWith("\n");
  for (const element of body.querySelectorAll("td, th")) element.after("\t");
  for (const element of body.querySelectorAll(BLOCKS)) surround(element, "\n");
  for (const element of body.querySelectorAll(APART)) surround(element, "\n\n");
  const lines = (body.textContent ?? "").split("\n").map((line) =>
    line
      .replace(/ *\t */g, "\t")
      .replace(/ +/g, " ")
      .trim(),
  );
  return `${lines
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim()}\n`;
}

function surround(element: Element, ends: string) {
  element.before(ends);
  element.after(ends);
}
