/** What the package exports. */

export type { Advice, Availability, Available, Unavailable } from "./availability";
export { LoraError, type RefusedSetting } from "./errors";
export type { FullCheckpoint } from "./full_checkpoint";
export type { TrustedAddress } from "./host";
export { deleteStored, type HubModel, listStored, type Progress, type StoredModel } from "./hub";
export type { HubFile } from "./hub_protocol";
export { LoraAdapter, type WriteFiles } from "./lora_adapter";
export type { LoraDataset, Source } from "./lora_dataset";
export { LoraModel, type Writing } from "./lora_model";
export type { LoraRun } from "./lora_run";
export type { MergedFile, MergedModel } from "./merged_model";
export type { ModelSource, PackagedModel } from "./model_source";
export type * from "./options";
export type { Stream } from "./stream";
export type {
  AdapterFiles,
  AdapterFormat,
  AdapterInput,
  Columns,
  Dataset,
  DatasetSummary,
  DeviceChoice,
  Evaluated,
  Event,
  Foreseen,
  Generated,
  Limit,
  Limits,
  MergedFormat,
  MergedType,
  Message,
  Method,
  ModelInfo,
  Notice,
  Settings,
  Stats,
  TunedProduct,
  WeightsChoice,
} from "./types";
