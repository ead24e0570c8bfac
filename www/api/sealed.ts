/**
 * A file that shows whether it is whole: "tabtune1", the SHA-256 of the rest, the length of a header, the header as
 * JSON, and the parts one after the other. A write that was cut short or a flipped bit is noticed when it is opened.
 */

const MAGIC = new TextEncoder().encode("tabtune1");
const HASH_AT = MAGIC.length;
const LENGTH_AT = HASH_AT + 32;
const HEADER_AT = LENGTH_AT + 4;

type Bytes = Uint8Array<ArrayBuffer>;

export async function seal(header: object, parts: Bytes[]): Promise<Bytes> {
  const lengths = parts.map((part) => part.length);
  const head = new TextEncoder().encode(JSON.stringify({ header, lengths }));
  const file = new Uint8Array(HEADER_AT + head.length + lengths.reduce((sum, length) => sum + length, 0));
  file.set(MAGIC);
  new DataView(file.buffer).setUint32(LENGTH_AT, head.length, true);
  file.set(head, HEADER_AT);
  let at = HEADER_AT + head.length;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  file.set(await hash(file), HASH_AT);
  return file;
}

/** Returns null if the file is not whole, or not one of these files. */
export async function unseal<Header>(file: Bytes): Promise<{ header: Header; parts: Bytes[] } | null> {
  if (file.length < HEADER_AT || !same(file.subarray(0, HASH_AT), MAGIC)) return null;
  if (!same(file.subarray(HASH_AT, LENGTH_AT), await hash(file))) return null;
  const bodyAt = HEADER_AT + new DataView(file.buffer, file.byteOffset).getUint32(LENGTH_AT, true);
  const { header, lengths } = JSON.parse(new TextDecoder().decode(file.subarray(HEADER_AT, bodyAt)));
  let at = bodyAt;
  const parts = (lengths as number[]).map((length) => {
    at += length;
    return file.subarray(at - length, at);
  });
  return { header, parts };
}

/** The header of a file that has its full length, and the lengths of its parts; nothing else of it is read. */
export async function peek<Header>(file: Blob): Promise<{ header: Header; lengths: number[] } | null> {
  const start = new Uint8Array(await file.slice(0, HEADER_AT).arrayBuffer());
  if (start.length < HEADER_AT || !same(start.subarray(0, HASH_AT), MAGIC)) return null;
  const bodyAt = HEADER_AT + new DataView(start.buffer).getUint32(LENGTH_AT, true);
  try {
    const { header, lengths } = JSON.parse(await file.slice(HEADER_AT, bodyAt).text());
    const whole = (lengths as number[]).reduce((sum, length) => sum + length, bodyAt);
    return file.size === whole ? { header, lengths } : null;
  } catch {
    return null;
  }
}

async function hash(file: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", file.subarray(LENGTH_AT)));
}

function same(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
