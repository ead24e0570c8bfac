/** Files as long as those of a model, of which only the beginning is there: enough to plan a run with it. */

/** The engine refuses longer headers. */
const LONGEST_HEADER = 1 << 24;
/** The length of a safetensors header stands in front of it. */
export const LENGTH_BYTES = 8;

/** Where the header of a safetensors file ends; null if its beginning is too short to say, or no header. */
export function headerEnd(beginning: Uint8Array<ArrayBuffer>): number | null {
  if (beginning.length < LENGTH_BYTES) return null;
  const { buffer, byteOffset } = beginning;
  const length = Number(new DataView(buffer, byteOffset).getBigUint64(0, true));
  return length <= LONGEST_HEADER ? LENGTH_BYTES + length : null;
}

/** As long as the file, with zeros that take no memory: all of them are one and the same blob. */
export function blankAfter(head: Uint8Array<ArrayBuffer>, bytes: number): Blob {
  const zeros = new Blob([new Uint8Array(1 << 20)]);
  const blank = Math.max(0, bytes - head.length);
  const whole = Array<Blob>(Math.floor(blank / zeros.size)).fill(zeros);
  return new Blob([head, ...whole, zeros.slice(0, blank % zeros.size)]);
}
