/** What the steps of an engine cost: CPU-seconds of all threads of its processes, and wall clock. Linux only. */

import { readdirSync, readFileSync } from "node:fs";

/** CPU-seconds that these processes have used. A thread that ended meanwhile is not counted. */
function cpuSeconds(processes) {
  const threads = processes.flatMap((id) => readdirSync(`/proc/${id}/task`).map((task) => `/proc/${id}/task/${task}`));
  const nanoseconds = threads.map((thread) => {
    try {
      return Number(readFileSync(`${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      return 0;
    }
  });
  return nanoseconds.reduce((sum, value) => sum + value, 0) / 1e9;
}

/** `end` is called at the end of each step. The first step is warm-up, so costs are differences between ends. */
export function meter() {
  const ends = [];
  return {
    end: (processes) => ends.push({ cpu: cpuSeconds(processes), wall: performance.now() / 1000 }),
    cpu: () => median(ends, "cpu"),
    wall: () => median(ends, "wall"),
  };
}

function median(ends, clock) {
  const costs = ends.slice(1).map((end, index) => end[clock] - ends[index][clock]);
  return costs.sort((a, b) => a - b)[Math.floor(costs.length / 2)];
}
