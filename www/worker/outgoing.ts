/** A file of a merged model on its way out, no faster than it is asked for: the memory holds a few pieces of it. */

import type { Merge } from "../api/protocol";
import { Stream } from "../api/stream";
import type { RangeSource } from "../api/weights";
import { bytesOf } from "../api/weights";
import type { Engine, EngineFiles, EngineMerge } from "./program";

type Bytes = Uint8Array<ArrayBuffer>;

export async function engineMerge({ weights, ...merge }: Merge): Promise<EngineMerge> {
  return { ...merge, weights: await bytesOf(weights) };
}

/** The engine reads a piece of the base before each piece that it writes: its reads wait until somebody asks. */
export async function* pieces(
  engine: Engine,
  files: EngineFiles,
  merge: Merge,
  name: string,
): AsyncGenerator<Bytes, void, undefined> {
  const gate = new Gate();
  const given = await engineMerge(merge);
  const written = new Stream<Bytes, void>(
    (tell) => {
      const take = (piece: Bytes) => {
        gate.isOpen = false;
        tell(piece);
      };
      return engine.writeMerged(behind(gate, files), given, name, take);
    },
    () => gate.leave(),
  );
  const reading = written[Symbol.asyncIterator]();
  try {
    for (;;) {
      gate.open();
      const { value, done } = await reading.next();
      gate.isOpen = false;
      if (done) return;
      yield value;
    }
  } finally {
    await reading.return();
  }
}

class Gate {
  isOpen = false;
  #isLeft = false;
  #wake: () => void = () => {};

  async pass() {
    while (!this.isOpen && !this.#isLeft)
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    if (this.#isLeft) throw new Error("nobody reads it");
  }

  open() {
    this.isOpen = true;
    this.#wake();
  }

  leave() {
    this.#isLeft = true;
    this.#wake();
  }
}

function behind(gate: Gate, files: EngineFiles): EngineFiles {
  const slow = (source: RangeSource): RangeSource => ({
    bytes: source.bytes,
    read: async (offset, length) => {
      await gate.pass();
      return source.read(offset, length);
    },
  });
  if ("gguf" in files) return { ...files, gguf: slow(files.gguf) };
  const { weights } = files;
  if (!("index" in weights)) return { ...files, weights: slow(weights) };
  const shards = Object.entries(weights.files).map(([name, file]) => [name, slow(file)]);
  return { ...files, weights: { index: weights.index, files: Object.fromEntries(shards) } };
}
