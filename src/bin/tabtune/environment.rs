//! What the process needs from its environment before a device is opened.

/// Vulkan's device selection asks Wayland for a display, whose library complains on standard error, once per driver,
/// when `XDG_RUNTIME_DIR` is unset, as it is in containers and cron jobs. Setting a variable of a running process is
/// unsafe, so the process replaces itself, which keeps its id, arguments and standard streams and takes 3 ms.
#[cfg(target_os = "linux")]
pub fn prepare() {
    use std::os::unix::process::CommandExt as _;

    const RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(RUNTIME_DIR).is_some_and(|folder| !folder.is_empty()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
    // Only a Wayland socket is looked for there, and nobody else can put one into the home folder.
    let folder = std::env::home_dir().filter(|home| home.is_absolute()).unwrap_or_else(|| "/".into());
    // `exec` returns only if it failed. Then the command runs all the same, with those lines.
    let _ = std::process::Command::new(program).arg0(name).args(arguments).env(RUNTIME_DIR, folder).exec();
}

#[cfg(not(target_os = "linux"))]
pub fn prepare() {}
