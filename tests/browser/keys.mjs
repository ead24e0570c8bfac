// @ts-check
/**
 * The keys of everything that the engine sends, as src/web.rs writes them. TypeScript holds each list to its interface
 * in www/api/types.ts: a key that is missing here or there is an error. `engine.mjs` holds them to the engine.
 */

/** @import * as api from "../../www/api/types" */

/** @template T @typedef {Record<keyof T, true>} Keys */

/** @type {Keys<api.Settings>} */
export const settings = {
  seqLen: true,
  batch: true,
  accumulate: true,
  method: true,
  rank: true,
  alpha: true,
  targets: true,
  lr: true,
  schedule: true,
  warmup: true,
  steps: true,
  clip: true,
  weightDecay: true,
  dropout: true,
  lean: true,
  checkpointing: true,
  packing: true,
  autotune: true,
  holdout: true,
  holdoutAtMost: true,
  evalEvery: true,
  patience: true,
  sampleEvery: true,
  prompt: true,
  seed: true,
  shuffle: true,
  maxTokens: true,
};

/** @type {Keys<api.Limits>} */
export const limits = {
  seqLen: true,
  batch: true,
  accumulate: true,
  alpha: true,
  lr: true,
  warmup: true,
  steps: true,
  clip: true,
  weightDecay: true,
  dropout: true,
  holdout: true,
  evalEvery: true,
  patience: true,
  sampleEvery: true,
  maxTokens: true,
  seed: true,
  ranks: true,
};

/** @type {Keys<api.ModelInfo>} */
export const modelInfo = {
  name: true,
  modelType: true,
  parameters: true,
  vocabulary: true,
  context: true,
  hidden: true,
  layers: true,
  heads: true,
  sha256: true,
  weights: true,
  weightBytes: true,
  chatTemplate: true,
  warnings: true,
  device: true,
};

/** @type {Keys<api.ModelInfo["device"]>} */
export const device = { kind: true, name: true, software: true, maxBindingBytes: true, workers: true };

/** @type {Keys<api.DatasetSummary>} */
export const datasetSummary = {
  characters: true,
  tokens: true,
  rows: true,
  heldOut: true,
  packedRows: true,
  labels: true,
  isChat: true,
  tokensPerCharacter: true,
  defaultSteps: true,
  warnings: true,
  preview: true,
};

/** @type {Keys<api.Notice>} */
export const notice = { code: true, message: true };

/** @type {Keys<api.DatasetSummary["preview"][number]>} */
export const previewRow = { tokens: true };

/** @type {Keys<api.DatasetSummary["preview"][number]["tokens"][number]>} */
export const previewToken = { text: true, tokens: true, trained: true };

/** @type {Keys<api.Probe>} */
export const probe = {
  msPerStep: true,
  msPerEvaluation: true,
  msPerKeep: true,
  msPerSample: true,
  tokensPerSecond: true,
  etaMs: true,
};

/** @type {Keys<api.AdapterFiles>} */
export const adapterFiles = {
  method: true,
  config: true,
  weights: true,
  rank: true,
  alpha: true,
  targets: true,
  parameters: true,
  step: true,
  loss: true,
  isChat: true,
  warnings: true,
};

/** @type {Keys<api.Generated>} */
export const generated = { text: true, tokens: true, reason: true };

/** @type {Keys<api.Profile>} */
export const profile = {
  workers: true,
  msPerStep: true,
  flopsPerStep: true,
  mostFlopsPerSecond: true,
  share: true,
  timestamps: true,
  kernels: true,
};

/** @type {Keys<api.KernelTime>} */
export const kernelTime = { kernel: true, calls: true, ms: true, share: true };

/** @type {Keys<api.Memory>} */
export const memory = {
  weights: true,
  rope: true,
  adapter: true,
  activations: true,
  logits: true,
  cache: true,
  other: true,
  total: true,
};

/** @type {Keys<api.Stats>} */
export const stats = { deviceBytes: true, devicePeakBytes: true, buffers: true, pipelines: true };

/** @type {{ [T in api.Event["type"]]: Keys<Extract<api.Event, { type: T }>> }} */
export const events = {
  config: {
    type: true,
    base: true,
    baseSha256: true,
    weights: true,
    dataSha256: true,
    initSha256: true,
    version: true,
    device: true,
    workers: true,
    rows: true,
    heldOut: true,
    parameters: true,
    tuned: true,
    settings: true,
  },
  phase: { type: true, phase: true, done: true, total: true },
  step: {
    type: true,
    step: true,
    loss: true,
    gradNorm: true,
    lr: true,
    tokens: true,
    tokensPerSecond: true,
    etaMs: true,
  },
  eval: { type: true, step: true, loss: true, tokens: true },
  sample: { type: true, step: true, prompt: true, text: true },
  warning: { type: true, code: true, message: true },
  checkpoint: { type: true, step: true },
  done: { type: true, step: true, baseLoss: true, bestLoss: true, bestStep: true, reason: true },
};
