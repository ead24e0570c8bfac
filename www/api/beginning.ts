/** What a run begins with. */

import { refused } from "./rules";
import type { Session } from "./session";
import type { AdapterInput, Settings } from "./types";

export interface Beginning {
  settings: Settings;
  /** The adapter to start from. */
  init?: AdapterInput;
  /** The state of an earlier run, whose settings count. */
  resume?: Uint8Array<ArrayBuffer>;
}

type Shape = Pick<Settings, "rank" | "alpha" | "targets">;

/** A run that starts from an adapter takes over that adapter's shape; `chosen` is what the caller asked of it. */
export async function startFrom(
  session: Session,
  settings: Settings,
  adapter: AdapterInput,
  chosen: Partial<Shape>,
): Promise<Beginning> {
  await session.setAdapter(adapter.config, adapter.weights);
  const { config, weights, rank, alpha, targets } = await session.adapter();
  const shape: Shape = { rank, alpha, targets: targets.join(",") };
  for (const [name, value] of Object.entries(chosen)) {
    const own = shape[name as keyof Shape];
    if (value !== own) throw refused(name, value, `no value, or ${own} as in the adapter that the run starts from`);
  }
  return { settings: { ...settings, ...shape }, init: { config, weights } };
}
