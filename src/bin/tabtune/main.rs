//! The command line: flags become settings, events go to the terminal and the log. It has no logic of its own.

// There is no command line on the web; the tests there still build every binary.
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

mod base;
mod bench;
mod cli;
mod environment;
mod eval;
mod export;
mod files;
mod generate;
mod info;
mod measured;
mod merge;
mod preview;
mod terminal;
mod train;

fn main() -> std::process::ExitCode {
    environment::prepare();
    cli::run()
}
