/** "Look inside": what the run took of the graphics card. */

import type { Stats } from "../../api/events";
import { bytes, count } from "../words";
import { Fold } from "./fold";

export function Inside({ stats }: { stats: Stats }) {
  return (
    <Fold title="Look inside">
      <dl class="stats">
        <dt>Programs on the graphics card (pipelines)</dt>
        <dd>{count(stats.pipelines)}</dd>
        <dt>Pieces of its memory in use (buffers)</dt>
        <dd>{count(stats.buffers)}</dd>
        <dt>Its memory in use now</dt>
        <dd>{bytes(stats.gpuBytes)}</dd>
        <dt>Its memory in use at most</dt>
        <dd>{bytes(stats.gpuPeakBytes)}</dd>
      </dl>
    </Fold>
  );
}
