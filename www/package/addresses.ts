/** The addresses of the worker and of the wasm in the package: both lie beside this script. */

export const wasmUrl = new URL("./tabtune.wasm", import.meta.url).href;
export const workerUrl = new URL("./worker.js", import.meta.url).href;
