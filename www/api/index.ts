/** What the package exports. */

export { type Advice, type Availability, availability } from "./availability";
export { LoraError } from "./errors";
export { fetchProgram } from "./fetch_program";
export { type LoadOptions, Session, type TrainOptions } from "./session";
export type * from "./types";
export { fetchModel, type ModelFiles, type Sharded } from "./weights";
