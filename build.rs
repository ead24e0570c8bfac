//! Links every (kernel, shape, features) of `src/device/kernel_table.rs` from WESL to plain WGSL in OUT_DIR, where it
//! can be inspected. Also writes the table that `device::kernel` includes: name, features, the access of each binding,
//! the `override` constants, and the text; and for each kernel its twin, `src/cpu/NAME.rs`.

use std::fmt::Write as _;
use std::path::Path;

#[allow(dead_code, reason = "the library reads the geometry, this script only the names")]
mod kernel_table {
    include!("src/device/kernel_table.rs");
}
use kernel_table::{KERNELS, Kernel, features_of, has_form};

/// The access of each `@binding(n)` of a linked module, in order of n: "Uniform", "Read" or "ReadWrite".
fn bindings(module: &str, wgsl: &str) -> Vec<&'static str> {
    let mut found: Vec<(usize, &'static str)> = wgsl
        .split("@binding(")
        .skip(1)
        .map(|rest| {
            let index = rest.split(')').next().and_then(|n| n.trim().parse().ok());
            let space: String =
                rest.split("var<").nth(1).unwrap_or("").split('>').next().unwrap_or("").replace(' ', "");
            let access = match space.as_str() {
                "uniform" => "Uniform",
                "storage,read" | "storage" => "Read",
                "storage,read_write" => "ReadWrite",
                other => panic!("{module}: a binding in address space `{other}`"),
            };
            (index.unwrap_or_else(|| panic!("{module}: a binding without a number")), access)
        })
        .collect();
    found.sort();
    for (expected, (index, _)) in found.iter().enumerate() {
        assert_eq!(expected, *index, "{module}: binding {expected} is declared but not used");
    }
    found.into_iter().map(|(_, access)| access).collect()
}

/// The `override` constants of a linked module: name, type, and whether a value must be given.
fn overrides(module: &str, wgsl: &str) -> Vec<String> {
    let declarations = wgsl.lines().filter_map(|line| line.trim().strip_prefix("override "));
    let parse = |declaration: &str| {
        let (declared, default) = match declaration.trim_end_matches(';').split_once('=') {
            Some((declared, _)) => (declared, true),
            None => (declaration.trim_end_matches(';'), false),
        };
        let (name, kind) =
            declared.split_once(':').unwrap_or_else(|| panic!("{module}: `override {declaration}` has no type"));
        let kind = match kind.trim() {
            "u32" => "U32",
            "f32" => "F32",
            "bool" => "Bool",
            other => panic!("{module}: an override of type `{other}`"),
        };
        let (name, required) = (name.trim(), !default);
        format!("Override {{ name: {name:?}, kind: ConstantKind::{kind}, required: {required} }}")
    };
    declarations.map(parse).collect()
}

/// The shapes of a kernel, each once.
fn shapes(kernel: &Kernel) -> Vec<&'static str> {
    let mut shapes: Vec<&str> = kernel.geometry.iter().map(|geometry| geometry.shape).collect();
    shapes.dedup();
    shapes
}

/// The features of each module of a kernel, each once: a shape may lack a form, or features that tell sets apart.
fn modules(kernel: &Kernel) -> Vec<Vec<&'static str>> {
    let of_shape = |shape| {
        let sets = kernel.features.iter().filter(move |set| has_form(shape, set));
        sets.map(move |set| features_of(shape, set))
    };
    let mut modules: Vec<_> = shapes(kernel).into_iter().flat_map(of_shape).collect();
    modules.dedup();
    modules
}

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    println!("cargo::rerun-if-changed=src/device/kernel_table.rs");
    let out_dir = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let out = Path::new(&out_dir);
    let all =
        KERNELS.iter().flat_map(|kernel| kernel.features.iter().copied().flatten().copied().chain(shapes(kernel)));
    let mut features_known: Vec<&str> = all.filter(|feature| !feature.is_empty()).collect();
    features_known.sort_unstable();
    features_known.dedup();

    let mut table = String::from("pub static MODULES: &[Module] = &[\n");
    for kernel in KERNELS {
        for features in modules(kernel) {
            let mut compiler = wesl::Wesl::new("shaders");
            // Overrides keep their names, so that they can be set by name.
            compiler.set_mangler(wesl::ManglerKind::None);
            for feature in &features_known {
                compiler.set_feature(feature, features.contains(feature));
            }
            let name = kernel.name;
            let path = format!("package::{name}").parse().expect("a kernel's name is an identifier");
            let wgsl = match compiler.compile(&path) {
                Ok(linked) => linked.to_string(),
                Err(error) => panic!("shaders/{name}.wesl with features {features:?}:\n{error}"),
            };
            let file = format!("{}.wgsl", [&[name][..], &features].concat().join("-"));
            std::fs::write(out.join(&file), &wgsl).expect("OUT_DIR is writable");
            let access: Vec<String> = bindings(name, &wgsl).iter().map(|a| format!("Access::{a}")).collect();
            writeln!(
                table,
                "    Module {{ kernel: {name:?}, features: &{features:?}, bindings: &[{}], overrides: &[{}], \
                 wgsl: include_str!(concat!(env!(\"OUT_DIR\"), \"/{file}\")) }},",
                access.join(", "),
                overrides(name, &wgsl).join(", ")
            )
            .expect("writing to a string");
        }
    }
    table.push_str("];\n\npub static TWINS: &[(&str, crate::cpu::Twin)] = &[\n");
    // A twin stands for the direct form.
    for Kernel { name, .. } in KERNELS.iter().filter(|kernel| shapes(kernel) != ["tiled"]) {
        writeln!(table, "    ({name:?}, crate::cpu::{name}::twin),").expect("writing to a string");
    }
    table.push_str("];\n");
    std::fs::write(out.join("modules.rs"), table).expect("OUT_DIR is writable");
}
