/** Reads zip files without taking their word: every size is checked while it unpacks, and every byte afterwards. */

import { crc32 } from "./crc32";
import { END, HEADER, HEADER_LENGTH, LISTED, STORED } from "./zip";

/** What a zip says about a file in it, before anything is unpacked. */
export interface Entry {
  name: string;
  size: number;
  packedSize: number;
  crc: number;
  method: number;
  isLocked: boolean;
  /** Where its header lies in the zip. */
  at: number;
}

const LISTED_LENGTH = 46;
const END_LENGTH = 22;
const LONGEST_COMMENT = 0xffff;
/** Stands for a number of more than 32 bits, which is elsewhere then (zip64). */
const ELSEWHERE = 0xffffffff;
const DEFLATED = 8;

/** A zip that cannot be read: because it is damaged, or because it is of a kind that is not read here. */
export class ZipError extends Error {
  constructor(
    reason: string,
    readonly isDamaged: boolean,
  ) {
    super(`the zip is ${reason}`);
  }
}

/** The list of the files in a zip, which stands at its end. */
export async function entriesOf(file: Blob): Promise<Entry[]> {
  const tailAt = Math.max(0, file.size - END_LENGTH - LONGEST_COMMENT);
  const tail = await view(file, tailAt, file.size);
  let end = tail.byteLength - END_LENGTH;
  while (end >= 0 && tail.getUint32(end, true) !== END) end--;
  if (end < 0) throw damaged(", cut short, or no zip at all");
  const size = tail.getUint32(end + 12, true);
  const at = tail.getUint32(end + 16, true);
  if (at === ELSEWHERE) throw foreign("of the kind for more than 4 GB (zip64)");
  if (at + size > tailAt + end) throw damaged(" or cut short");
  return readList(await view(file, at, at + size));
}

function readList(list: DataView<ArrayBuffer>): Entry[] {
  const entries: Entry[] = [];
  for (let start = 0; start < list.byteLength; ) {
    const left = list.byteLength - start - LISTED_LENGTH;
    if (left < 0 || list.getUint32(start, true) !== LISTED) throw damaged(": its list of files cannot be read");
    const short = (offset: number) => list.getUint16(start + offset, true);
    const long = (offset: number) => list.getUint32(start + offset, true);
    const [nameLength, more] = [short(28), short(30) + short(32)];
    if (nameLength + more > left) throw damaged(": its list of files cannot be read");
    entries.push({
      name: new TextDecoder().decode(new Uint8Array(list.buffer, start + LISTED_LENGTH, nameLength)),
      isLocked: (short(8) & 1) === 1,
      method: short(10),
      crc: long(16),
      packedSize: long(20),
      size: long(24),
      at: long(42),
    });
    start += LISTED_LENGTH + nameLength + more;
  }
  return entries;
}

/** Unpacks one file, and stops as soon as it turns out to be larger than the zip says. */
export async function unpack(file: Blob, entry: Entry): Promise<Uint8Array<ArrayBuffer>> {
  if (entry.isLocked) throw foreign("locked with a password");
  if (entry.method !== STORED && entry.method !== DEFLATED) {
    throw foreign(`packed by a method (${entry.method}) that is not known here`);
  }
  const header = await view(file, entry.at, entry.at + HEADER_LENGTH);
  if (header.byteLength < HEADER_LENGTH || header.getUint32(0, true) !== HEADER) throw spoilt(entry);
  const from = entry.at + HEADER_LENGTH + header.getUint16(26, true) + header.getUint16(28, true);
  const packed = file.slice(from, from + entry.packedSize).stream();
  const stream = entry.method === STORED ? packed : packed.pipeThrough(new DecompressionStream("deflate-raw"));
  const content = new Uint8Array(entry.size);
  let filled = 0;
  let crc = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read().catch((error) => {
      throw error instanceof TypeError ? spoilt(entry) : error;
    });
    if (done) break;
    if (filled + value.length > entry.size) {
      reader.cancel();
      throw spoilt(entry);
    }
    content.set(value, filled);
    filled += value.length;
    crc = crc32(value, crc);
  }
  if (filled !== entry.size || crc !== entry.crc) throw spoilt(entry);
  return content;
}

async function view(file: Blob, from: number, to: number): Promise<DataView<ArrayBuffer>> {
  return new DataView(await file.slice(from, to).arrayBuffer());
}

const damaged = (how: string) => new ZipError(`damaged${how}`, true);
const spoilt = ({ name }: Entry) => damaged(`: ${name} in it is not what was packed`);
const foreign = (kind: string) => new ZipError(kind, false);
