//! `tabtune merge`: a checkpoint with an adapter merged into it, streamed from folder to folder. No graphics adapter is
//! needed.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use tabtune::error::{Error, Result};
use tabtune::files::Source;
use tabtune::model::Config;

use super::files;

const WEIGHTS: &str = "model.safetensors";

pub async fn merge(model: &Path, adapter: &Path, out: &Path) -> Result<()> {
    let adapter = files::read_adapter(adapter)?;
    let path = model.join("config.json");
    let config = Config::parse(&fs::read(&path).map_err(|e| files::io(&path, e))?)?;
    let base = Source::file(&model.join(WEIGHTS))?;
    if fs::read_dir(out).map_or(out.exists(), |mut entries| entries.next().is_some()) {
        let expected = "a folder that is empty or does not exist yet".to_string();
        return Err(Error::Setting { name: "out".to_string(), value: out.display().to_string(), expected });
    }
    fs::create_dir_all(out).map_err(|e| files::io(out, e))?;

    // The weights get their name last, so that a folder with that name in it is a whole checkpoint.
    let part = out.join(format!("{WEIGHTS}.part"));
    let done = async {
        let failed = |e| files::io(&part, e);
        let mut file = BufWriter::new(File::create(&part).map_err(failed)?);
        adapter.merge(&config, &base, &mut |bytes| file.write_all(bytes).map_err(failed)).await?;
        file.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
        for name in files::COPIED.iter().filter(|name| model.join(name).is_file()) {
            fs::copy(model.join(name), out.join(name)).map_err(|e| files::io(&out.join(name), e))?;
        }
        let path = out.join(WEIGHTS);
        fs::rename(&part, &path).map_err(|e| files::io(&path, e))
    };
    let done = done.await;
    match &done {
        Ok(()) => eprintln!("merged checkpoint written to {}", out.display()),
        // The folder was empty before, so everything in it is half of something.
        Err(_) => {
            for name in files::COPIED {
                let _ = fs::remove_file(out.join(name));
            }
            let _ = fs::remove_file(&part);
            let _ = fs::remove_dir(out);
        }
    }
    done
}
