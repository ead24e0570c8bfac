/** How to go on with a text that no engine has read: in another browser, or after another try to start the engine. */

import { model } from "../state";
import { Copy } from "./copy";

export function WayOn() {
  if (model.value.state === "failed") return <p>The model is not there yet: card 2 says why, and tries again.</p>;
  if (model.value.state !== "absent") return null;
  return (
    <>
      <p>
        This browser can show your text, but cannot learn from it. To go on, open this page as the top of it says, and
        choose your text there again.
      </p>
      <Copy class="primary" label="Copy the address of this page" words={location.href} />
    </>
  );
}
