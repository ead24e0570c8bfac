/** What the package exports. */

export { type Availability, availability } from "./availability";
export { LoraError } from "./errors";
export type * from "./events";
export { fetchProgram, Session, type TrainOptions } from "./session";
export { fetchModel, type ModelFiles } from "./weights";
