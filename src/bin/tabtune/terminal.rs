//! Results on standard output, warnings on standard error.

use std::io::Write as _;

use tabtune::error::{Error, Result};
use tabtune::warning::Warning;

/// Writes a result at once. A full disk or a reader that has gone is an error like any other, not a panic as with
/// `print!`.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Error::Io { path: "standard output".to_string(), reason: e.to_string() })
}

/// What the user should know although the command goes on.
pub fn show(warnings: &[Warning]) {
    for Warning { code, message } in warnings {
        eprintln!("warning[{code}]: {message}");
    }
}
