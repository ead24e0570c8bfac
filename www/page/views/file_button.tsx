/** A button that lets the visitor choose files, or a folder. */

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";

interface Props {
  class?: string;
  accept?: string;
  folder?: boolean;
  disabled?: boolean;
  onFiles(files: File[]): void;
  children: ComponentChildren;
}

export function FileButton({ class: look = "", accept, folder = false, disabled = false, onFiles, children }: Props) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" class={look} disabled={disabled} onClick={() => input.current?.click()}>
        {children}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        {...(folder ? { webkitdirectory: true } : {})}
        {...(accept ? { accept } : {})}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
          onFiles(files);
        }}
      />
    </>
  );
}
