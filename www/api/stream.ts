/** Work that says something while it goes on, to be read with `for await`, and has a result. */

export class Stream<Item, Result> implements AsyncIterable<Item> {
  readonly result: Promise<Result>;
  #items: Item[] = [];
  #isOver = false;
  #wake: () => void = () => {};
  #stop: () => void;

  /** The work has begun, whether anybody reads or not. `stop` is called when the reader leaves early. */
  constructor(work: (tell: (item: Item) => void) => Promise<Result>, stop: () => void) {
    this.#stop = stop;
    this.result = work((item) => {
      this.#items.push(item);
      this.#wake();
    }).finally(() => {
      this.#isOver = true;
      this.#wake();
    });
    // Whoever reads hears of an error there.
    this.result.catch(() => {});
  }

  /** What has been said and not been read yet, until the work is over; after that, its error if there is one. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    try {
      for (;;) {
        yield* this.#items.splice(0);
        if (this.#items.length > 0) continue;
        if (this.#isOver) break;
        await new Promise<void>((wake) => {
          this.#wake = wake;
        });
      }
      await this.result;
    } finally {
      if (!this.#isOver) this.#stop();
    }
  }
}
