import { runLane } from "./lanes.mjs";

await runLane("card");
