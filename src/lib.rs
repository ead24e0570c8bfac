//! tabtune fine-tunes a language model with LoRA, in a browser tab or natively: WGSL compute shaders do the arithmetic,
//! Rust drives them through wgpu. The base model stays frozen; the low-rank matrices A and B are trained. (Full
//! fine-tuning trains the matrices of the blocks instead.)
//!
//! # From bird's eye
//!
//! Data flows one way: bytes → tensors → plan → model → training → browser.
//!
//! An op of [`ops`] records its forward dispatch into a [`plan::Recorder`] and pushes a closure that records its
//! backward dispatches. The tape of these closures exists only while a plan is recorded; what is left is a
//! [`plan::Plan`], a flat list of dispatches with every buffer bound and every pipeline compiled. A training step
//! writes one buffer (the `Step` uniforms and the tokens) and submits. A step is two plans: *micro* does forward and
//! backward of a micro-batch and adds to the gradients and to {Σ loss, labels}; *update* takes the norm, clips, does
//! AdamW, publishes {Σ loss, labels, norm, flags} and leaves the gradients zeroed. The loss comes back through a ring
//! of staging buffers and holds nothing up.
//!
//! After the last attention no row reads another, so from there on only the rows that have a label are computed: they
//! are packed together ([`ops::gather_rows`]), and the last MLP, the final norm and the head know no other rows.
//!
//! LoRA is a few lines over one op, [`ops::project`], whose operand is a frozen weight or a trained range of the
//! adapter's flat buffer; full fine-tuning trains such ranges instead of the weights of the blocks. On a card,
//! [`ops::low_rank`] does the same in fewer dispatches, for all linears that read the same activation.
//!
//! # Example
//!
//! Trains an adapter on a text and continues a prompt with it (natively; a browser goes through `web`).
//!
//! ```no_run
//! # use std::{path::Path, rc::Rc};
//! use tabtune::device::{Device, DeviceOptions};
//! use tabtune::generate::{Generator, Sampling};
//! use tabtune::run::{Base, Control, Hooks, Settings, Start, train};
//! use tabtune::text::{Document, NATIVE_LIMIT};
//!
//! # async fn example(text: Vec<u8>) -> tabtune::error::Result<()> {
//! let device = Device::new(DeviceOptions::default()).await?;
//! let base = Base::open(&device, Path::new("SmolLM2-135M"), Default::default()).await?;
//!
//! let settings = Settings { steps: 50, ..Settings::defaults(&base.model.config, device.software) };
//! let document = Document::new("notes.txt", text);
//! let data = base.dataset(&[document], None, &settings, NATIVE_LIMIT)?;
//!
//! let hooks = Hooks { emit: &mut |event| println!("{event:?}"), keep: &mut |_| {}, save: None, helpers: &[] };
//! let (control, clock) = (Control::default(), Rc::new(|| 0.0) as _);
//! let outcome = train(&base, &data, &settings, Start::Fresh, &control, &clock, hooks).await?;
//!
//! if let Some(adapter) = outcome.kept.as_ref().and_then(|kept| kept.files.adapter()) {
//!     let model = base.with_adapter(adapter)?;
//!     let sampling = Sampling { max_tokens: 40, temperature: 0.7, top_k: 40, top_p: 1.0, seed: 0, strength: 1.0 };
//!     let generator = Generator::new(&model).await?;
//!     let go_on = || true;
//!     let print = &mut |piece: &str| print!("{piece}");
//!     generator.generate(&base.tokenizer, "Dear", &sampling, print, &go_on).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms, in reading order
//!
//! | room | holds |
//! |---|---|
//! | [`error`], [`warning`], [`random`] | every way to fail, with a hint; warnings; the one random generator |
//! | [`files`] | where a file's bytes come from; safetensors, in one file or several; GGUF; JSON as Python writes it |
//! | [`text`] | file formats, chat templates, tokenizer, rows with labels and their preview, packing, batches |
//! | `cpu` | the twin of each kernel with a direct form, in Rust, on slices |
//! | [`device`] | a card or the CPU: limits, buffers, the pool, stored weights, the kernel table, read-back |
//! | [`plan`] | the input buffer, the recorder with its tape, the plan, its replay, its profile and how it is timed |
//! | [`ops`] | functions that record forward and push backward: project, attention, …; the probes of a device |
//! | [`model`] | a family's names, config.json as data, the list of tensors, loading, block, transformer, logits |
//! | [`adapter`] | sites, ranks, flat storage, files of PEFT, MLX and llama.cpp, the check of exports, merge and swap |
//! | [`train`](mod@train) | steps, evaluation, learning rate |
//! | [`generate`] | decoding with a KV cache, and the sampler; it does not know `train` |
//! | [`run`] | the loop around both: events, the best adapter, stopping, run states; memory and profile of a run |
//! | `web`, the binary | JavaScript and the command line, which only forward |
//!
//! Rooms name only those above them (CONTRIBUTING.md, `tests/suite/house.rs`).
//!
//! A plan does not know what executes it. `device` resolves each of its dispatches once: on a card to a pipeline and
//! buffers, on the CPU to the kernel's twin and slices.
//!
//! `shaders/` holds one kernel per file in WESL, linked to WGSL by `build.rs` for every shape and feature set of
//! `src/device/kernel_table.rs`, which also says how each is launched. Most kernels that matter come in two shapes:
//! `tiled` uses work-group memory, `direct` none, for software devices. A tiled product takes the tile that costs least
//! for its shape, and splits a long sum where there would be too few work groups ([`device::tiling`]); on a real card
//! a run first measures whether another is faster there ([`plan::autotune`]). `www/` is the page and the npm package,
//! `tests/suite/reference/` the same ops as plain f64 loops.
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
//!    planner. With checkpointing a block's closure owns the block's input only, and records the block again; in a lean
//!    plan closures own how to record a norm or an activation again, and whoever reads it first does so.
//! 7. What the host reads or writes is never in the pool.
//! 8. Each kernel has a namesake in `cpu`, in `ops` and in `tests/suite/reference/`.
//! 9. Only `web` knows JavaScript, and two files of `device`, which let a browser compile pipelines side by side and
//!    take turns with the CPU; only `device` knows the platform.
//! 10. Errors happen while loading and planning. After that a step can fail in one way: the device is lost. What only a
//!     bug can reach is an assertion that names the thing, or `Error::Internal`: never a default value, never skipped.
//! 11. No atomics on floats and no order that depends on scheduling: the same seed on the same device gives the same
//!     losses, bit for bit, where its products are computed alike: without autotune, or once all have been measured.

pub mod error;
pub mod random;
pub mod warning;

pub mod files;
pub mod text;

mod cpu;
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
