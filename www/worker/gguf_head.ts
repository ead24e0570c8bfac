/** How far what stands before the data of a GGUF file reaches. Nothing says so but all of it: it is walked through. */

const MAGIC = "GGUF";
/** The sizes of the metadata's values by their types; texts and lists say theirs. */
const SIZES: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const TEXT = 8;
const LIST = 9;
/** Its numbers are a part of the config, and lie in the data. */
const ROPE = "rope_freqs.weight";

export interface GgufHead {
  /** Where the table of tensors ends. */
  end: number;
  /** Whether the config can be told without any of the data. */
  isWhole: boolean;
}

/** Null if the beginning is too short to say. That of another file is over at once. */
export function ggufHead(beginning: Uint8Array<ArrayBuffer>): GgufHead | null {
  try {
    return new Walk(beginning).head();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** Reading past the end is a RangeError. */
class Walk {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  head(): GgufHead {
    if (this.#words(MAGIC.length) !== MAGIC) return { end: 0, isWhole: false };
    this.#skip(4);
    const [tensors, fields] = [this.#long(), this.#long()];
    for (let field = 0; field < fields; field++) {
      this.#skip(this.#long());
      this.#value(this.#number());
    }
    let isWhole = true;
    for (let tensor = 0; tensor < tensors; tensor++) {
      if (this.#words(this.#long()) === ROPE) isWhole = false;
      this.#skip(8 * this.#number());
      this.#skip(12);
    }
    return { end: this.#at, isWhole };
  }

  #value(type: number) {
    if (type === TEXT) return this.#skip(this.#long());
    if (type !== LIST) return this.#skip(sizeOf(type));
    const [each, count] = [this.#number(), this.#long()];
    if (each !== TEXT && each !== LIST) return this.#skip(sizeOf(each) * count);
    for (let item = 0; item < count; item++) this.#value(each);
  }

  #skip(bytes: number) {
    this.#at += bytes;
    if (this.#at > this.#bytes.length) throw new RangeError("the beginning is too short");
  }

  #number(): number {
    this.#skip(4);
    return this.#view.getUint32(this.#at - 4, true);
  }

  #long(): number {
    this.#skip(8);
    return Number(this.#view.getBigUint64(this.#at - 8, true));
  }

  #words(bytes: number): string {
    this.#skip(bytes);
    return String.fromCharCode(...this.#bytes.subarray(this.#at - bytes, this.#at).subarray(0, 100));
  }
}

/** Of a type that is not known, more than there can be. */
function sizeOf(type: number): number {
  return SIZES[type] ?? Number.POSITIVE_INFINITY;
}
