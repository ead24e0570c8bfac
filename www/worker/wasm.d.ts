// The types of the module that wasm-bindgen writes, for when it has not been built yet.
declare module "*/wasm/tabtune.js";
