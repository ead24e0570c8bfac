/** An error, where it belongs: what happened, what to do, one button, and folded details. */

import { settings } from "../settings";
import { diagnostics, type Place, type Trouble, troubles } from "../trouble";
import { sentence } from "../words";
import { Copy } from "./copy";
import { Fold } from "./fold";
import { Quoted } from "./quoted";
import "./banner.css";

export function Banner({ place }: { place: Place }) {
  const trouble = troubles.value[place];
  if (!trouble) return null;
  return (
    <div class="banner" role="alert">
      <p class="what">
        <Quoted words={sentence(trouble.what)} />
      </p>
      <p>
        <Quoted words={trouble.hint} />
      </p>
      <button type="button" onClick={trouble.button.press}>
        {trouble.button.label}
      </button>
      <Details trouble={trouble} />
    </div>
  );
}

function Details({ trouble }: { trouble: Trouble }) {
  const facts = diagnostics(trouble, settings.value);
  return (
    <Fold title="Details">
      <p>
        Code <code>{trouble.code}</code>. These facts help to find the cause; none of your words are in them.
      </p>
      <pre>{facts}</pre>
      <Copy label="Copy diagnostics" words={facts} />
    </Fold>
  );
}
