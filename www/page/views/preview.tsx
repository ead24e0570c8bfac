/** The counts of a text, and its first rows as the model reads them: one, and the others on request. */

import type { Dataset } from "../../api/types";
import { isWebPage, looksLikeRecords, takeAsRecords, takeWebText } from "../reread";
import { settings } from "../settings";
import { type Text, text, training } from "../state";
import { bytes, count, counted } from "../words";
import { Fold } from "./fold";
import { Notices } from "./notices";
import "./preview.css";

/** How many tokens of a row are shown; the rest are counted. */
const SHOWN = 36;

export function Preview({ isOld }: { isOld: boolean }) {
  const chosen = text.value;
  if (!chosen) return null;
  return chosen.dataset ? <Read chosen={chosen} dataset={chosen.dataset} isOld={isOld} /> : <Plain {...chosen} />;
}

function Read({ chosen, dataset, isOld }: { chosen: Text; dataset: Dataset; isOld: boolean }) {
  const { name, bytes: size, documents, notes = [] } = chosen;
  const { warnings } = dataset;
  return (
    <>
      <p class="counts">
        <strong>{name}</strong>, {bytes(size)}: {counted(dataset.characters, "character")} in{" "}
        {counted(dataset.tokens, "token")} (pieces of words), cut into {counted(dataset.rows, "row")} of{" "}
        {settings.value?.seqLen}. {heldOutWords(dataset)}
        {settings.value?.packing && ` Those to learn from share ${counted(dataset.packedRows, "row")}.`}
      </p>
      <Notices notices={[...notes, ...warnings]} />
      {warnings.some(looksLikeRecords) && (
        <button type="button" disabled={training.value || isOld} onClick={() => takeAsRecords(chosen, warnings)}>
          Read it as records
        </button>
      )}
      {documents.some((document) => isWebPage(document, warnings)) && (
        <button type="button" disabled={training.value || isOld} onClick={() => takeWebText(chosen, warnings)}>
          Read only its text
        </button>
      )}
    </>
  );
}

export function Rows() {
  const dataset = text.value?.dataset;
  if (!dataset) return null;
  const [first, ...more] = dataset.preview.map((row, index) => <Row key={`row ${index}`} tokens={row.tokens} />);
  return (
    <>
      <ol class="rows" aria-label="The first row, token by token">
        {first}
      </ol>
      <p class="legend">
        <span class="chip">learnt from</span> <span class="chip untrained">only read, or padding</span>
        {hasParts(dataset) && " A small number says how many tokens one character takes."}
      </p>
      {more.length > 0 && (
        <Fold title={counted(more.length, "more row")}>
          <ol class="rows" start={2} aria-label="More rows, token by token">
            {more}
          </ol>
        </Fold>
      )}
    </>
  );
}

/** Characters that the tokenizer does not know fall apart into several tokens. */
function hasParts({ preview }: Dataset): boolean {
  return preview.some(({ tokens }) => tokens.slice(0, SHOWN).some((token) => token.tokens > 1));
}

function heldOutWords({ heldOut, warnings }: Dataset): string {
  if (heldOut === 0) return "No rows are held out, so the page cannot tell whether the model learns or only remembers.";
  const rows = `${counted(heldOut, "row is", "rows are")} held out`;
  if (warnings.some(({ code }) => code === "nothing_measured")) return `${rows}, but cannot test the model.`;
  const them = heldOut === 1 ? "it" : "them";
  return `${rows}: the model never learns from ${them}, and is tested on ${them}.`;
}

function Row({ tokens }: Dataset["preview"][number]) {
  const rest = tokens.slice(SHOWN).reduce((sum, token) => sum + token.tokens, 0);
  return (
    <li>
      {tokens.slice(0, SHOWN).map((token, index) => (
        <span key={`${index}${token.text}`} class={token.trained ? "chip" : "chip untrained"}>
          {visible(token.text)}
          {token.tokens > 1 && <sub>{token.tokens}</sub>}
        </span>
      ))}
      {rest > 0 && <span class="quiet"> and {count(rest)} more</span>}
    </li>
  );
}

/** Spaces and line ends are tokens or parts of them: show them. */
function visible(piece: string): string {
  return piece.replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

function Plain({ name, bytes: size, plain }: Text) {
  if (!plain) return null;
  return (
    <>
      <p class="counts">
        <strong>{name}</strong>, {bytes(size)}: {counted(plain.characters, "character")}. It begins:
      </p>
      <blockquote>
        {plain.lines.map((line, index) => (
          <p key={`${index}${line}`}>{line.slice(0, 200)}</p>
        ))}
      </blockquote>
    </>
  );
}
