// Stands in for the types wasm-bindgen writes when the wasm has not been built yet.
declare module "*/wasm/tabtune.js";
