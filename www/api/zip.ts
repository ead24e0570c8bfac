/** Writes zip files, each file in them stored (PKWARE's APPNOTE, 4.3). */

import { crc32 } from "./crc32";

/** The first four bytes of a file's header, of its record in the list, and of the end. */
export const HEADER = 0x04034b50;
export const LISTED = 0x02014b50;
export const END = 0x06054b50;
export const HEADER_LENGTH = 30;
export const STORED = 0;
export const VERSION = 20;
export const UTF8_NAME = 0x800;
/** Midnight, 1 January 1980: equal files make equal zips. */
export const TIME = [0, 0x21];

/** Nothing is compressed: trained numbers hardly shrink, and compressing them would block the page. */
export function zip(files: Record<string, Uint8Array<ArrayBuffer>>): Blob {
  const contents: BlobPart[] = [];
  const list: BlobPart[] = [];
  let at = 0;
  for (const [name, content] of Object.entries(files)) {
    const label = new TextEncoder().encode(name);
    const sizes = [...wide(crc32(content)), ...wide(content.length), ...wide(content.length)];
    const facts = [VERSION, UTF8_NAME, STORED, ...TIME, ...sizes, label.length, 0];
    contents.push(record(...wide(HEADER), ...facts), label, content);
    list.push(record(...wide(LISTED), VERSION, ...facts, 0, 0, 0, 0, 0, ...wide(at)), label);
    at += HEADER_LENGTH + label.length + content.length;
  }
  const { size } = new Blob(list);
  const count = Object.keys(files).length;
  const end = record(...wide(END), 0, 0, count, count, ...wide(size), ...wide(at), 0);
  return new Blob([...contents, ...list, end], { type: "application/zip" });
}

/** Numbers of 16 bits, the low byte first. */
export function record(...fields: number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(fields.flatMap((field) => [field, field >>> 8]));
}

export const wide = (n: number): number[] => [n & 0xffff, n >>> 16];
