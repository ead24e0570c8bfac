/** How much of the program and the model has arrived, for whoever waits for them. */

import { computed, signal } from "@preact/signals";
import { model } from "./state";
import { megabytes } from "./words";

/** The sizes of their files, which the build counts: no server says how large a file is once it is unpacked. */
declare const BYTES_TO_FETCH: number;

const arrived = signal(0);

export function count(bytes: number) {
  arrived.value += bytes;
}

/** "1.2 of 10.3 MB", or that it starts; null when nothing is waited for. */
export const arrival = computed(() => {
  if (model.value.state !== "loading") return null;
  return arrived.value < BYTES_TO_FETCH
    ? megabytes(arrived.value, BYTES_TO_FETCH)
    : "everything is here and is being started";
});
