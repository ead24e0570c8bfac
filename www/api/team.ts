/** How many workers share the work of a session on the processor, and what connects them. */

import { loraError } from "./errors";
import { memory, threads, type WorkerSource } from "./host";
import { Link } from "./link";
import type { ModelInfo, WeightsChoice } from "./types";
import type { ModelFiles } from "./weights";

const MOST = 8;
/** The part of the machine's memory that all copies of the weights together may take. */
const SHARE = 0.25;
const GIB = 2 ** 30;
/** What a browser that does not tell its machine's memory is taken to have, in GiB. */
const USUAL_GIB = 4;

/** As many as were asked for; otherwise half the machine's threads, as long as the weights fit so many times. */
export function workersFor({ device, weightBytes }: ModelInfo, asked: number | undefined): number {
  if (device.kind === "gpu") return 1;
  if (asked !== undefined) return Math.min(Math.max(1, Math.trunc(asked)), MOST);
  const fitting = Math.floor(((memory() ?? USUAL_GIB) * GIB * SHARE) / weightBytes);
  return Math.max(1, Math.min(Math.floor(threads() / 2), MOST, fitting));
}

/** Starts workers that help the leader, each with a copy of the weights. An error ends them, but not the leader. */
export async function gather(
  leader: Link,
  count: number,
  program: WebAssembly.Module,
  files: ModelFiles,
  stored: WeightsChoice,
  source?: WorkerSource,
): Promise<{ helpers: Link[]; info: ModelInfo }> {
  const helpers: Link[] = [];
  const start = async () => {
    const helper = await Link.start(source);
    helpers.push(helper);
    const { port1, port2 } = new MessageChannel();
    await helper.call("assist", { program, files, stored, port: port1 }, undefined, [port1]);
    return port2;
  };
  const starting = Array.from({ length: count }, start);
  try {
    const ports = await Promise.all(starting);
    return { helpers, info: await leader.call("lead", ports, undefined, ports) };
  } catch (error) {
    // Only when all have been tried are there no more to end.
    await Promise.allSettled(starting);
    for (const helper of helpers) helper.end(loraError(error));
    throw error;
  }
}
