/** A button that copies words. Browsers have no clipboard for pages that came over plain http: then there is none. */

import { useSignal } from "@preact/signals";

interface Props {
  class?: string;
  label: string;
  words: string;
}

export function Copy({ class: look = "", label, words }: Props) {
  const outcome = useSignal<string | null>(null);
  if (!navigator.clipboard) return null;
  const copy = async () => {
    outcome.value = await navigator.clipboard.writeText(words).then(
      () => "Copied",
      () => "The browser does not allow it",
    );
  };
  return (
    <button type="button" class={look} onClick={copy}>
      {outcome.value ?? label}
    </button>
  );
}
