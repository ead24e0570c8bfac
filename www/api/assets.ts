/** The addresses of the worker and of the wasm: nothing else here knows where they are. */

export { default as downloadUrl } from "../worker/download.ts?worker&url";
export { default as wasmUrl } from "../worker/wasm/tabtune_bg.wasm?url";
export { default as workerUrl } from "../worker/worker.ts?worker&url";
