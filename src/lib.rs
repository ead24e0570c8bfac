//! tabtune fine-tunes a language model with LoRA, in a browser tab or natively: WGSL compute shaders do the arithmetic,
//! Rust drives them through wgpu. The base model stays frozen; the low-rank matrices A and B are trained. (Full
//! fine-tuning, the baseline, trains the matrices of the blocks instead.)
//!
//! # From bird's eye
//!
//! Data flows one way: bytes → tensors → plan → model → training → browser.
//!
//! An op of [`ops`] records its forward dispatch into a [`plan::Recorder`] and pushes a closure that records its
//! backward dispatches. The tape of these closures exists only while a plan is recorded; what is left is a
//! [`plan::Plan`], a flat list of dispatches with every buffer bound and every pipeline compiled. A training step
//! writes one buffer (the `Step` uniform and the tokens) and submits. A step is two plans: *micro* does forward and
//! backward of a micro-batch and adds to the gradients and to {Σ loss, labels}; *update* takes the norm, clips, does
//! AdamW, publishes {Σ loss, labels, norm, flags} and leaves the gradients zeroed. The loss comes back through a ring
//! of staging buffers and holds nothing up.
//!
//! LoRA has no backward code of its own: [`model::Linear`] is a few lines over one op, [`ops::project`], whose operand
//! is a frozen weight or a trained range of the adapter's flat buffer.
//!
//! # Rooms, in reading order
//!
//! | room | holds |
//! |---|---|
//! | [`error`], [`random`] | every way to fail, with a code and a hint; the one random generator |
//! | [`safetensors`] | header and ranges, read and write; no GPU |
//! | [`text`] | file formats, chat templates, tokenizer, rows with loss masks and their preview, batches; no GPU |
//! | [`device`] | limits, buffers, the pool, kernels and pipelines, read-back; the only room that names wgpu |
//! | [`plan`] | the input buffer, the recorder with its tape, the plan and its replay |
//! | [`ops`] | project, embed, rms_norm, rope, attention, swiglu, add, dropout, cross_entropy, update |
//! | [`model`] | config.json, linear, block, transformer, logits; a file of names per family |
//! | [`adapter`] | sites, ranks, flat storage, PEFT's files, export checks, merge and swap; full fine-tuning |
//! | [`train`](mod@train), [`generate`] | steps and evaluation; decoding with a KV cache and sampling |
//! | [`run`] | the loop around both: events, the best adapter, pause and stop, run states |
//! | `web`, the binary | JavaScript and the command line; they forward |
//!
//! `shaders/` holds one kernel per file in WESL, linked to WGSL by `build.rs` for every (kernel, features) pair of
//! `src/device/kernel_table.rs`. Most kernels that matter come in two shapes: `tiled` uses work-group memory, `direct`
//! none, for adapters that compute on the CPU. `www/` is the page and the npm package, `tests/suite/reference/` the
//! same ops as plain f64 loops.
//!
//! # Invariants: what is absent
//!
//! 1. A plan is complete: a step allocates, binds and compiles nothing.
//! 2. `ops` does not know what a transformer is; nothing above `device` names a wgpu type; nothing above `ops` names a
//!    kernel.
//! 3. Frozen weights have no gradient, by type. Below the first adapter nothing is recorded for backward.
//! 4. There is no zero-grad: an activation gradient's first writer assigns, later ones accumulate; adapter gradients
//!    always accumulate, and the update leaves them zeroed.
//! 5. Tensors are contiguous and row-major: no views, strides or broadcasting. Feature counts that are contracted are
//!    multiples of four (ranks are padded); rows and vocabularies are any number.
//! 6. A backward closure owns exactly what it reads; dropping it frees its activations. That ownership is the memory
//!    planner.
//! 7. What the host reads or writes is never in the pool.
//! 8. Each kernel has a namesake in `tests/suite/reference/`.
//! 9. Only `web` knows JavaScript, and one file of `device`, which lets a browser compile pipelines side by side; only
//!    `device` knows the platform.
//! 10. Errors happen while loading and planning. After that a step can fail in one way: the device is lost.
//! 11. No atomics on floats and no order that depends on scheduling: the same seed on the same device gives the same
//!     losses, bit for bit.

pub mod error;
pub mod random;

pub mod files;
pub mod text;

pub mod device;
pub mod plan;

pub mod ops;

pub mod model;

pub mod adapter;

pub mod generate;
pub mod train;

pub mod run;

#[cfg(target_arch = "wasm32")]
pub mod web;
