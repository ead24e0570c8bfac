/** What the package exports. */

export type { Advice, Availability } from "./availability";
export { LoraError, type RefusedSetting } from "./errors";
export { deleteStored, type HubModel, listStored, type Progress, type StoredModel } from "./hub";
export { LoraAdapter } from "./lora_adapter";
export type { LoraDataset, Source } from "./lora_dataset";
export { LoraModel, type Writing } from "./lora_model";
export type { LoraRun } from "./lora_run";
export type { ModelSource, PackagedModel } from "./model_source";
export type * from "./options";
export type {
  AdapterFormat,
  Columns,
  DatasetSummary,
  DeviceChoice,
  Evaluated,
  Event,
  Generated,
  Limit,
  Limits,
  Message,
  ModelInfo,
  Notice,
  Settings,
  Stats,
  WeightsChoice,
} from "./types";
