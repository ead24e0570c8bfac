//! A file in the user's cache that keeps what runs have measured on a card, so that each measures it once.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use tabtune::device::{Device, TunedProduct};

use crate::files::write_whole;

/// The file, in which each card has its products. Those of other versions of tabtune are other cards'.
pub struct Cards {
    /// `None` if the system names no folder for it.
    folder: Option<PathBuf>,
}

const FILE: &str = "products.json";

type Known = BTreeMap<String, Vec<TunedProduct>>;

impl Cards {
    pub fn of_user() -> Cards {
        Cards { folder: cache_folder().map(|folder| folder.join("tabtune")) }
    }

    /// Tells a card what is known of it. What cannot be read is measured again.
    pub fn recall(&self, device: &Device) {
        device.remember(self.read().get(&name(device)).map_or(&[], Vec::as_slice));
    }

    /// Writes what is known of a card, with what another process has written meanwhile, if it is news to the file.
    pub fn keep(&self, device: &Device) {
        let Some(folder) = &self.folder else { return };
        let mut known = self.read();
        let there = known.get(&name(device)).map_or(&[][..], Vec::as_slice);
        device.remember(there);
        let measured = device.measured();
        if measured.iter().all(|product| there.contains(product)) {
            return;
        }
        known.insert(name(device), measured);
        if let Err(error) = write_whole(folder, FILE, serde_json::json!(known).to_string().as_bytes()) {
            eprintln!("what was measured on the card could not be kept, so the next run measures it again: {error}");
        }
    }

    fn read(&self) -> Known {
        let bytes = self.folder.as_ref().and_then(|folder| std::fs::read(folder.join(FILE)).ok());
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

fn name(device: &Device) -> String {
    format!("tabtune {}, {}", env!("CARGO_PKG_VERSION"), device.identity)
}

/// Where programs keep what they can make again.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let below_home = |folder: &str| env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(folder));
    if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        below_home("Library/Caches")
    } else {
        absolute("XDG_CACHE_HOME").or_else(|| below_home(".cache"))
    }
}
