/** Hands a file to the visitor, as a download. */

export function save(name: string, content: Blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser reads the address after this task; a minute is long enough for any disk.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
