import { runLane } from "./lanes.mjs";

await runLane("runs");
