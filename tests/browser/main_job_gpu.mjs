/** The main job with the shaders. In software they are slow, so it is shorter. */

import { job } from "./job.mjs";

job({ device: "gpu", steps: 20, gain: 0.35 });
