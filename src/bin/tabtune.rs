//! The command line: flags to a run, events to the terminal and the log. No logic of its own.

#[cfg(not(target_arch = "wasm32"))]
#[path = "tabtune/cli.rs"]
mod cli;

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(target_arch = "wasm32")]
fn main() {}
