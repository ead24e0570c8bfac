//! Links every (kernel, features) pair of `src/device/kernel_table.rs` from WESL to plain WGSL in OUT_DIR, where it can be
//! read, and writes the table that `device::kernel` includes: name, features, the access of each binding, the text.

use std::fmt::Write as _;
use std::path::Path;

include!("src/device/kernel_table.rs");

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

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    println!("cargo::rerun-if-changed=src/device/kernel_table.rs");
    let out_dir = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let out = Path::new(&out_dir);
    let mut features_known: Vec<&str> =
        KERNELS.iter().flat_map(|(_, sets)| sets.iter().copied().flatten().copied()).collect();
    features_known.sort_unstable();
    features_known.dedup();

    let mut table = String::from("pub static MODULES: &[Module] = &[\n");
    for (kernel, sets) in KERNELS {
        for features in *sets {
            let mut compiler = wesl::Wesl::new("shaders");
            for feature in &features_known {
                compiler.set_feature(feature, features.contains(feature));
            }
            let path = format!("package::{kernel}").parse().expect("a kernel's name is an identifier");
            let wgsl = match compiler.compile(&path) {
                Ok(linked) => linked.to_string(),
                Err(error) => panic!("shaders/{kernel}.wesl with features {features:?}:\n{error}"),
            };
            let file = format!("{}.wgsl", [&[*kernel][..], features].concat().join("-"));
            std::fs::write(out.join(&file), &wgsl).expect("OUT_DIR is writable");
            let access: Vec<String> = bindings(kernel, &wgsl).iter().map(|a| format!("Access::{a}")).collect();
            writeln!(
                table,
                "    Module {{ kernel: {kernel:?}, features: &{features:?}, bindings: &[{}], wgsl: include_str!(concat!(env!(\"OUT_DIR\"), \"/{file}\")) }},",
                access.join(", ")
            )
            .expect("writing to a string");
        }
    }
    table.push_str("];\n");
    std::fs::write(out.join("modules.rs"), table).expect("OUT_DIR is writable");
}
