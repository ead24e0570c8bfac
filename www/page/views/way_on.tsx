/** How to go on with a text that no engine has read: in another browser, or after another try to start the engine. */

import { useSignal } from "@preact/signals";
import { model } from "../state";

export function WayOn() {
  if (model.value.state === "failed") return <p>The model is not there yet: card 2 says why, and tries again.</p>;
  if (model.value.state !== "absent") return null;
  return (
    <>
      <p>
        This browser can show your text, but cannot learn from it. To go on, open this page as the top of it says, and
        choose your text there again.
      </p>
      <CopyAddress />
    </>
  );
}

function CopyAddress() {
  const copied = useSignal(false);
  // Browsers have no clipboard for pages that came over plain http.
  if (!navigator.clipboard) return null;
  const copy = async () => {
    copied.value = await navigator.clipboard.writeText(location.href).then(
      () => true,
      () => false,
    );
  };
  return (
    <button type="button" class="primary" onClick={copy}>
      {copied.value ? "Copied" : "Copy the address of this page"}
    </button>
  );
}
