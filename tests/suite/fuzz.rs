//! The seeds and the findings of the fuzzers, run through the functions that the fuzzers call.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Runs every file in `fuzz/<kind>` of every target, which must end in time, and returns the results.
fn replay(kind: &str) -> Vec<(PathBuf, tabtune::error::Result<()>)> {
    let mut replayed = Vec::new();
    for (name, target) in targets::TARGETS {
        let folder = format!("{}/fuzz/{kind}/{name}", env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a file");
            println!("{}", path.display());
            let start = Instant::now();
            let found = target(&bytes);
            assert!(start.elapsed() < Duration::from_secs(40), "{}: {:?}", path.display(), start.elapsed());
            replayed.push((path, found));
        }
    }
    replayed
}

#[test]
fn every_seed_of_the_fuzzers_is_accepted() {
    let seeds = replay("seeds");
    for (name, _) in targets::TARGETS {
        assert!(
            seeds.iter().any(|(path, _)| path.parent().is_some_and(|folder| folder.ends_with(name))),
            "no seed for `{name}`"
        );
    }
    for (path, found) in seeds {
        assert!(found.is_ok(), "{}: {found:?}", path.display());
    }
}

/// Each finding once panicked, took too long, or broke a promise that its target checks.
#[test]
fn no_finding_of_the_fuzzers_happens_again() {
    assert!(!replay("findings").is_empty());
}
