//! The whole native suite in one binary, because linking wgpu is slow; the numeric part of it runs in a browser too.

mod adapter_forms;
mod adapters;
#[cfg(not(target_arch = "wasm32"))]
mod autotune;
#[cfg(not(target_arch = "wasm32"))]
mod bad_input;
mod check;
#[cfg(not(target_arch = "wasm32"))]
mod checkpoints;
#[cfg(not(target_arch = "wasm32"))]
mod codegen;
mod cpu;
#[cfg(not(target_arch = "wasm32"))]
mod errors;
#[cfg(not(target_arch = "wasm32"))]
mod exports;
#[cfg(not(target_arch = "wasm32"))]
mod families;
#[cfg(not(target_arch = "wasm32"))]
mod folders;
mod full;
#[cfg(not(target_arch = "wasm32"))]
mod fuzz;
#[cfg(not(target_arch = "wasm32"))]
mod gguf;
#[cfg(not(target_arch = "wasm32"))]
mod gguf_checkpoints;
mod golden;
#[cfg(not(target_arch = "wasm32"))]
mod house;
#[cfg(not(target_arch = "wasm32"))]
mod json;
mod laws;
#[cfg(not(target_arch = "wasm32"))]
mod less_memory;
#[cfg(not(target_arch = "wasm32"))]
mod limits;
mod measuring;
#[cfg(not(target_arch = "wasm32"))]
mod memory;
#[cfg(not(target_arch = "wasm32"))]
mod merged;
mod model;
mod ops;
mod packing;
mod plans;
#[cfg(not(target_arch = "wasm32"))]
mod profiles;
mod quantised;
mod random_models;
#[cfg_attr(
    target_arch = "wasm32",
    expect(dead_code, reason = "only `reference_self`, which runs natively, uses all of it")
)]
mod reference;
#[cfg(not(target_arch = "wasm32"))]
mod reference_self;
mod run_laws;
mod run_states;
mod runs;
#[cfg(not(target_arch = "wasm32"))]
mod safetensors;
#[cfg(not(target_arch = "wasm32"))]
mod samples;
#[cfg(not(target_arch = "wasm32"))]
mod sampling;
#[cfg(not(target_arch = "wasm32"))]
mod settings;
#[cfg(not(target_arch = "wasm32"))]
mod shards;
mod teams;
#[cfg(not(target_arch = "wasm32"))]
mod text;
#[cfg(not(target_arch = "wasm32"))]
mod tiling;
mod tiny;

/// Async tests on the device: natively under `#[test]`, in a browser under `#[wasm_bindgen_test]`.
#[macro_export]
macro_rules! device_tests {
    ($($(#[$doc:meta])* async fn $name:ident() $body:block)*) => {
        $(
            $(#[$doc])*
            #[cfg_attr(not(target_arch = "wasm32"), test)]
            #[cfg(not(target_arch = "wasm32"))]
            fn $name() {
                pollster::block_on(async $body)
            }

            $(#[$doc])*
            #[cfg(target_arch = "wasm32")]
            #[wasm_bindgen_test::wasm_bindgen_test]
            async fn $name() $body
        )*
    };
}

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
