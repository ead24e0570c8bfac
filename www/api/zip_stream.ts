/** Writes a zip while its files arrive (PKWARE's APPNOTE, 4.3): checksums stand behind them. Sizes are known before. */

import { crc32 } from "./crc32";
import { END, HEADER, LISTED, record, STORED, TIME, UTF8_NAME, VERSION, wide } from "./zip";

type Bytes = Uint8Array<ArrayBuffer>;

interface Arriving {
  name: string;
  bytes: number;
  pieces(): AsyncIterable<Bytes>;
}

const BEHIND = 0x08074b50;
const BEHIND_FLAG = 8;
/** Stands for a number of more than 32 bits, which is elsewhere then (zip64). */
const ELSEWHERE = 0xffffffff;
const WIDE_VERSION = 45;
const WIDE_FIELDS = 1;
const WIDE_END = 0x06064b50;
const WIDE_END_PLACE = 0x07064b50;
const REST_OF_WIDE_END = 44;

export async function* zipped(files: Arriving[]): AsyncGenerator<Bytes, void, undefined> {
  const list: Bytes[] = [];
  let at = 0;
  for (const { name, bytes, pieces } of files) {
    const place = at;
    const before = beginning(name, bytes);
    yield before;
    let crc = 0;
    for await (const piece of pieces()) {
      crc = crc32(piece, crc);
      yield piece;
    }
    const after = ending(crc, bytes);
    yield after;
    at += before.length + bytes + after.length;
    list.push(listed(name, bytes, crc, place));
  }
  yield* list;
  yield end(files.length, size(list), at);
}

/** How long such a zip is. */
export function zippedBytes(files: Omit<Arriving, "pieces">[]): number {
  let at = 0;
  const list = files.map(({ name, bytes }) => {
    const record = listed(name, bytes, 0, at);
    at += beginning(name, bytes).length + bytes + ending(0, bytes).length;
    return record;
  });
  return at + size(list) + end(files.length, size(list), at).length;
}

const size = (records: Bytes[]) => records.reduce((sum, { length }) => sum + length, 0);
const isWide = (n: number) => n >= ELSEWHERE;
const long = (n: number) => [...wide(n % 2 ** 32), ...wide(Math.floor(n / 2 ** 32))];
const encoded = (name: string) => new TextEncoder().encode(name);

function beginning(name: string, bytes: number): Bytes {
  const more = isWide(bytes) ? [WIDE_FIELDS, 16, ...long(0), ...long(0)] : [];
  const sizes = [0, 0, ...(isWide(bytes) ? [...wide(ELSEWHERE), ...wide(ELSEWHERE)] : [0, 0, 0, 0])];
  return joined([...wide(HEADER), ...facts(bytes), ...sizes], name, more);
}

function ending(crc: number, bytes: number): Bytes {
  const length = isWide(bytes) ? long(bytes) : wide(bytes);
  return record(...wide(BEHIND), ...wide(crc), ...length, ...length);
}

function listed(name: string, bytes: number, crc: number, at: number): Bytes {
  const fields = [...(isWide(bytes) ? [...long(bytes), ...long(bytes)] : []), ...(isWide(at) ? long(at) : [])];
  const more = fields.length > 0 ? [WIDE_FIELDS, 2 * fields.length, ...fields] : [];
  const short = wide(Math.min(bytes, ELSEWHERE));
  const before = [...wide(LISTED), WIDE_VERSION, ...facts(bytes), ...wide(crc), ...short, ...short];
  return joined(before, name, more, [0, 0, 0, 0, 0, ...wide(Math.min(at, ELSEWHERE))]);
}

/** From the version to the time. */
const facts = (bytes: number) => [isWide(bytes) ? WIDE_VERSION : VERSION, UTF8_NAME | BEHIND_FLAG, STORED, ...TIME];

function joined(before: number[], name: string, more: number[], between: number[] = []): Bytes {
  const label = encoded(name);
  const head = record(...before, label.length, 2 * more.length, ...between);
  const whole = new Uint8Array(head.length + label.length + 2 * more.length);
  whole.set(head);
  whole.set(label, head.length);
  whole.set(record(...more), head.length + label.length);
  return whole;
}

function end(count: number, bytes: number, at: number): Bytes {
  const place = [...wide(Math.min(bytes, ELSEWHERE)), ...wide(Math.min(at, ELSEWHERE)), 0];
  const narrow = [...wide(END), 0, 0, count, count, ...place];
  if (!isWide(at)) return record(...narrow);
  const versions = [WIDE_VERSION, WIDE_VERSION, 0, 0, 0, 0];
  const counts = [...long(count), ...long(count), ...long(bytes), ...long(at)];
  const found = [...wide(WIDE_END_PLACE), 0, 0, ...long(at + bytes), 1, 0];
  return record(...wide(WIDE_END), ...long(REST_OF_WIDE_END), ...versions, ...counts, ...found, ...narrow);
}
