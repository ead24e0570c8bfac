//! House rules, checked on the source: which room may name which, and what is deliberately absent.

use std::fs;
use std::path::{Path, PathBuf};

use tabtune::device::kernel_table::KERNELS;
use tabtune::device::{Geometry, Shape};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The rooms of src/ and the rooms that each may name, which come before it in this list.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("random", &[]),
    ("warning", &[]),
    ("files", &["error", "warning"]),
    ("text", &["error", "random", "warning", "files"]),
    ("cpu", &[]),
    ("device", &["error", "cpu"]),
    ("plan", &["error", "device"]),
    ("ops", &["error", "device", "plan"]),
    ("model", &["error", "warning", "device", "plan", "ops", "files"]),
    ("adapter", &["error", "random", "warning", "device", "plan", "ops", "model", "files"]),
    ("train", &["error", "random", "text", "device", "plan", "ops", "model", "adapter"]),
    ("generate", &["error", "random", "text", "device", "plan", "ops", "model", "adapter"]),
    (
        "run",
        &[
            "error", "random", "warning", "files", "text", "device", "plan", "ops", "model", "adapter", "train",
            "generate",
        ],
    ),
    (
        "web",
        &[
            "error", "files", "random", "warning", "text", "device", "plan", "ops", "model", "adapter", "train",
            "generate", "run",
        ],
    ),
    (
        "bin",
        &[
            "error", "files", "random", "warning", "text", "device", "plan", "ops", "model", "adapter", "train",
            "generate", "run",
        ],
    ),
];

/// These shaders measure the speed of the device and are not ops.
const PROBES: [&str; 2] = ["copy_probe", "fma_probe"];

/// All files below a folder that have this ending, as (path from the root, text).
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                let name = path.strip_prefix(ROOT).expect("a path below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no .{ending} files");
    found
}

/// The room of a file of src/: its folder, or its own name if it has none.
fn room(path: &str) -> &str {
    let first = path.trim_start_matches("src/").split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs")
}

/// The numbered lines of a Rust file without its comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
}

/// The name that follows each `prefix` that is a word of its own.
fn named_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let begins = line.match_indices(prefix).map(|(at, _)| at).filter(|&at| !line[..at].ends_with(is_word));
    begins
        .map(|at| &line[at + prefix.len()..])
        .map(|rest| &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())])
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    named_after(line, word).iter().any(|rest| rest.is_empty())
}

/// Fails with every line of src/ that contains one of `words` in a file where it does not belong.
fn only_in(words: &[&str], belongs: impl Fn(&str) -> bool) {
    let mut wrong = Vec::new();
    for (path, text) in files("src", "rs").iter().filter(|(path, _)| !belongs(path)) {
        for (number, line) in code(text) {
            wrong.extend(
                words.iter().filter(|word| has_word(line, word)).map(|word| format!("{path}:{number}: `{word}`")),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    let mut edges = 0;
    for (path, text) in files("src", "rs").iter().filter(|(path, _)| path != "src/lib.rs") {
        let from = room(path);
        let (_, allowed) = ROOMS
            .iter()
            .find(|(name, _)| *name == from)
            .unwrap_or_else(|| panic!("{path}: no room `{from}` in the import rule"));
        // In the binary `crate` is the binary itself.
        let library = if from == "bin" { "tabtune::" } else { "crate::" };
        for (number, line) in code(text) {
            for to in named_after(line, library) {
                edges += 1;
                if to != from && !allowed.contains(&to) {
                    wrong.push(format!("{path}:{number}: `{from}` may not name `{to}`"));
                }
            }
            // In a room of one file, `super` is the root, which would hide an edge.
            if path.matches('/').count() == 1 && line.contains("super::") {
                wrong.push(format!("{path}:{number}: name the room, not `super`"));
            }
        }
    }
    assert!(edges > 50, "only {edges} imports were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_import_rule_before_the_rooms_that_name_it() {
    for (path, _) in files("src", "rs").iter().filter(|(path, _)| path != "src/lib.rs") {
        assert!(ROOMS.iter().any(|(name, _)| *name == room(path)), "{path} is in no room");
    }
    for (i, (name, allowed)) in ROOMS.iter().enumerate() {
        let left = |other: &&&str| ROOMS[..i].iter().any(|(room, _)| *room == **other);
        assert_eq!(allowed.iter().filter(left).count(), allowed.len(), "`{name}` names a room that comes after it");
    }
}

#[test]
fn only_the_device_names_wgpu() {
    only_in(&["wgpu"], |path| path.starts_with("src/device/"));
}

#[test]
fn only_web_and_two_files_of_device_know_javascript() {
    only_in(
        &["JsValue", "JsFuture", "wasm_bindgen", "wasm_bindgen_futures", "js_sys", "web_sys", "serde_wasm_bindgen"],
        |path| room(path) == "web" || ["src/device/ahead_web.rs", "src/device/platform_web.rs"].contains(&path),
    );
}

#[test]
fn only_matrix_products_and_loops_of_kernels_are_unsafe() {
    only_in(&["unsafe"], |path| ["src/cpu/product.rs", "src/device/pipeline.rs"].contains(&path));
}

#[test]
fn shaders_are_files_not_strings() {
    for (path, text) in files("src", "rs") {
        for part in ["@compute", "@group(", "@workgroup_size", "var<storage"] {
            assert!(!text.contains(part), "{path} holds a shader: `{part}`");
        }
    }
}

#[test]
fn nothing_above_ops_dispatches_a_kernel() {
    only_in(&["dispatch"], |path| ["plan", "ops"].contains(&room(path)) || path.starts_with("src/bin/tabtune/bench"));
}

/// The names of the Rust files of a folder, except `mod.rs`.
fn nouns(folder: &str) -> Vec<String> {
    let names = files(folder, "rs").into_iter().map(|(path, _)| path);
    let names =
        names.filter_map(|path| path.strip_prefix(&format!("{folder}/"))?.strip_suffix(".rs").map(String::from));
    names.filter(|name| name != "mod").collect()
}

/// The name of every shader is, or begins with, the name of an op and of a reference.
#[test]
fn shaders_ops_and_references_share_one_name() {
    let named = |folder: &str, kernel: &str| {
        let carries = |noun: &&String| {
            kernel.strip_prefix(noun.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        nouns(folder).iter().filter(carries).max_by_key(|noun| noun.len()).cloned()
    };
    let shaders = files("shaders", "wesl").into_iter().map(|(path, _)| path).filter(|path| !path.contains("/shared/"));
    let shaders: Vec<String> =
        shaders.map(|path| path.trim_start_matches("shaders/").trim_end_matches(".wesl").to_string()).collect();
    for kernel in shaders.iter().filter(|kernel| !PROBES.contains(&kernel.as_str())) {
        let noun = named("src/ops", kernel).unwrap_or_else(|| panic!("no op has the name of the shader {kernel}"));
        let reference = named("tests/suite/reference", kernel);
        assert_eq!(reference.as_ref(), Some(&noun), "{kernel}: tests/suite/reference/{noun}.rs");
    }
    let mut kernels: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
    kernels.sort_unstable();
    let mut shaders: Vec<&str> = shaders.iter().map(String::as_str).collect();
    shaders.sort_unstable();
    assert_eq!(shaders, kernels, "the kernel table names every shader");
    // `build.rs` looks for a twin of every kernel with a direct form; here, that every twin is one of such a kernel.
    let twins = files("src/cpu", "rs").into_iter().filter(|(_, text)| text.contains("pub fn twin("));
    let twins: Vec<String> = twins.map(|(path, _)| path).collect();
    let direct = kernels.iter().filter(|kernel| Geometry::exists(kernel, Shape::Cpu));
    let expected: Vec<String> = direct.map(|kernel| format!("src/cpu/{kernel}.rs")).collect();
    assert_eq!(twins, expected, "a twin in src/cpu for every shader with a direct form");
}

#[test]
fn files_are_short_enough_to_read() {
    for (folder, ending, most) in [("src", "rs", 400), ("shaders", "wesl", 260)] {
        for (path, text) in files(folder, ending) {
            let lines = text.lines().count();
            assert!(lines <= most, "{path} has {lines} lines, but the limit is {most}");
        }
    }
}

#[test]
fn the_rules_find_what_they_forbid() {
    assert_eq!(named_after("use crate::run::Event; // crate", "crate::"), ["run"]);
    assert_eq!(named_after("let e: crate::error::Error = crate::model::x();", "crate::"), ["error", "model"]);
    assert!(named_after("use my_crate::run;", "crate::").is_empty());
    assert!(has_word("let x: wgpu::Buffer;", "wgpu") && !has_word("let wgpus = 1;", "wgpu"));
    assert_eq!(code("a // b\n// c").map(|(_, line)| line).collect::<Vec<_>>(), ["a ", ""]);
}

/// Endings of file names, or whole names.
const WRITTEN_BY_HAND: &[&str] = &["rs", "wesl", "ts", "tsx", "css", "mjs", "py", "sh", "Makefile"];
/// Folders that are downloaded or generated.
const NOT_OURS: &[&str] = &[".git", "artefacts", "dist", "dist-package", "node_modules", "target", "wasm"];
const WIDEST: usize = 120;

#[test]
fn lines_are_at_most_120_wide() {
    let (mut wrong, mut files) = (Vec::new(), 0);
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() && !NOT_OURS.contains(&name.as_ref()) {
                folders.push(path);
                continue;
            }
            let ending = path.extension().map_or(name.clone(), |ending| ending.to_string_lossy());
            if !path.is_file() || !WRITTEN_BY_HAND.contains(&ending.as_ref()) {
                continue;
            }
            files += 1;
            let text = fs::read_to_string(&path).expect("text");
            let wide = text.lines().zip(1..).filter(|(line, _)| line.chars().count() > WIDEST);
            wrong.extend(wide.map(|(_, number)| format!("{}:{number}", path.display())));
        }
    }
    assert!(files > 200, "only {files} files were found");
    wrong.sort();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
