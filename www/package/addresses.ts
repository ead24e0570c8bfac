/** The addresses of the workers and of the wasm in the package: all lie beside this script. */

export const wasmUrl = new URL("./tabtune.wasm", import.meta.url).href;
export const downloadUrl = new URL("./download.js", import.meta.url).href;
export const workerUrl = new URL("./worker.js", import.meta.url).href;
