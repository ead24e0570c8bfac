/** How often a run has the model continue its prompt. */

/** How many samples a run takes where nothing is said. */
const SAMPLES = 6;

/** In steps, for a run of so many. */
export const samplesEvery = (steps: number): number => Math.max(1, Math.round(steps / SAMPLES));
