#!/usr/bin/env bash
# Installs what the Makefile's commands need, and only what is missing. What it builds or downloads itself goes to
# ${XDG_CACHE_HOME:-$HOME/.cache}/tabtune; system packages come from apt, with sudo where that is needed and there.
#
#   tools/setup.sh PART...
#     build     the wasm32 target, the wasm-bindgen command line and test runner, the page's npm packages
#     browser   Chromium, unless $CHROMIUM or a Chrome or Chromium on PATH is there; `browser-path` prints which
#     driver    chromedriver, which the browser tests steer Chromium with
#     wasm-pack wasm-pack, with which `make test-slow` runs the browser tests once more
#     firefox   Firefox, unless $FIREFOX or `firefox-esr` is on PATH; `make test-slow` opens the page in it
#     vulkan    Mesa's software Vulkan, unless a Vulkan driver is installed
#     python    a virtual environment with PyTorch, transformers and PEFT (about 5 GB)
#     models    tokenizers of published models, for the tests (about 300 MB); without them the tests go on
#     lint      rustfmt and clippy
#     fuzz      a nightly Rust and cargo-fuzz
#     coverage  LLVM's tools and cargo-llvm-cov
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tabtune
venv=$cache/venv
requirements=$root/tests/parity/requirements.txt
# The command line must have exactly the version of the crate, so Cargo.toml is where it is written.
bindgen=$(sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' "$root/Cargo.toml")
export PATH="$cache/bin:$PATH:$HOME/.cargo/bin"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

main() {
  local part
  for part in "$@"; do
    case $part in
      build)
        step "Rust" has_rust no_rust
        step "C linker" has_linker "apt_install gcc libc6-dev"
        step "wasm32-unknown-unknown" has_target install_target
        step "wasm-bindgen $bindgen (takes minutes)" has_bindgen install_bindgen
        step "Node" has_node no_node
        step "npm packages" has_npm_packages install_npm_packages
        ;;
      browser) step "browser" has_browser "apt_install chromium" ;;
      browser-path) browser_path ;;
      driver) step "chromedriver" has_driver "apt_install chromium chromium-driver" ;;
      wasm-pack) step "wasm-pack (takes minutes)" has_wasm_pack install_wasm_pack ;;
      firefox) step "Firefox" has_firefox "apt_install firefox-esr" ;;
      vulkan) step "Vulkan driver" has_vulkan "apt_install libvulkan1 mesa-vulkan-drivers" ;;
      python)
        step "Python" has_python "apt_install python3 python3-venv"
        step "PyTorch and PEFT (about 3 GB to download)" has_venv install_venv
        ;;
      models)
        (step "tokenizers of published models (about 300 MB to download)" has_models install_models) ||
          echo "setup: THE TESTS GO ON WITHOUT THE TOKENIZERS OF PUBLISHED MODELS" >&2
        ;;
      lint) step "rustfmt and clippy" has_lint install_lint ;;
      fuzz)
        step "Rust nightly" has_nightly install_nightly
        step "C++ compiler" has_cxx "apt_install g++"
        step "cargo-fuzz (takes minutes)" has_cargo_fuzz install_cargo_fuzz
        ;;
      coverage)
        step "LLVM's tools" has_llvm_tools install_llvm_tools
        step "cargo-llvm-cov (takes minutes)" has_llvm_cov install_llvm_cov
        ;;
      *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
    esac
  done
}

# step NAME TEST COMMAND: runs COMMAND unless TEST succeeds, and prints one line; on failure also what COMMAND said.
step() {
  local name=$1 begun=$SECONDS status
  printf 'setup: %s: ' "$name"
  if $2 2>"$log"; then
    echo "there"
    return
  fi
  # Not in a condition, where bash would ignore errexit inside the subshell.
  set +e
  (set -e && $3) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ $status = 0 ] && $2 2>>"$log"; then
    echo "installed ($((SECONDS - begun)) s)"
  else
    echo "failed ($((SECONDS - begun)) s)"
    tail -n 40 "$log" >&2
    exit 1
  fi
}

has() { command -v "$1" >/dev/null; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

apt_install() {
  if ! has apt-get || { [ "$(id -u)" != 0 ] && ! has sudo; }; then
    echo "install these with your system's package manager: $*"
    return 1
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

has_rust() { has cargo && has rustc; }
no_rust() { echo "install Rust as https://rustup.rs says" && return 1; }

has_linker() { has cc; }

has_target() { compgen -G "$(rustc --print target-libdir --target wasm32-unknown-unknown)/libstd-*.rlib" >/dev/null; }
install_target() {
  if ! has rustup; then
    echo "this Rust did not come from rustup: install its standard library for wasm32-unknown-unknown" \
      "(Debian: libstd-rust-dev-wasm32), or Rust as https://rustup.rs says"
    return 1
  fi
  rustup target add wasm32-unknown-unknown
}

has_bindgen() { has wasm-bindgen-test-runner && [ "$(wasm-bindgen --version)" = "wasm-bindgen $bindgen" ]; }
# A debug build takes 110 s of CPU time, one with opt-level 1 takes 280 s; on a wasm of 1 MB they then need 0.4 and
# 0.1 s. The lock file that comes with the crate may name versions that a registry mirror does not serve yet, so it is
# not used.
install_bindgen() {
  CARGO_PROFILE_DEV_DEBUG=0 cargo install wasm-bindgen-cli --version "$bindgen" --debug --root "$cache" --force
}

has_wasm_pack() { has wasm-pack; }
install_wasm_pack() { cargo install wasm-pack --version 0.15.1 --debug --root "$cache"; }

has_node() {
  has npm && node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'
}
no_node() { echo "install Node 20.19 or newer, with npm" && return 1; }

# npm writes this file last.
has_npm_packages() { [ "$root/www/node_modules/.package-lock.json" -nt "$root/www/package-lock.json" ]; }
install_npm_packages() { npm --prefix "$root/www" ci --no-audit --no-fund; }

has_browser() { browser_path >/dev/null; }
browser_path() {
  local name
  for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable chrome \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
    command -v "$name" && return
  done
  return 1
}

has_driver() { has "${CHROMEDRIVER:-chromedriver}"; }

has_firefox() { has "${FIREFOX:-firefox-esr}"; }

has_vulkan() {
  [ "$(uname)" = Linux ] || return 0
  { compgen -G "/usr/lib*/libvulkan.so.1" || compgen -G "/usr/lib/*/libvulkan.so.1"; } >/dev/null || return 1
  { compgen -G "/usr/share/vulkan/icd.d/*.json" || compgen -G "/etc/vulkan/icd.d/*.json"; } >/dev/null
}

has_python() { has python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

# The list of what is installed is written last.
has_venv() { cmp -s "$requirements" "$venv/.ready"; }
install_venv() {
  mkdir -p "$cache"
  if [ ! -x "$venv/bin/pip" ] && ! python3 -m venv "$venv"; then
    rm -rf "$venv"
    apt_install python3-venv
    python3 -m venv "$venv"
  fi
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-deps -r "$requirements"
  "$venv/bin/python" -W ignore -c 'import torch, transformers, peft'
  cp "$requirements" "$venv/.ready"
}

# SmolLM2's is fetched last, Gemma's before it.
has_models() { [ -f "$cache/models/gemma3/tokenizer.json" ] && [ -f "$cache/models/smollm2/tokenizer.json" ]; }
install_models() {
  local python=$venv/bin/python
  [ -x "$python" ] || python=python3
  "$python" "$root/tools/fetch_models.py" "$cache/models"
}

has_lint() { cargo fmt --version && cargo clippy --version; } >/dev/null
install_lint() { rustup component add rustfmt clippy; }

has_nightly() { cargo +nightly --version >/dev/null; }
install_nightly() { rustup toolchain install nightly --profile minimal; }

has_cxx() { has c++; }

has_cargo_fuzz() { has cargo-fuzz; }
install_cargo_fuzz() { cargo install cargo-fuzz --locked --root "$cache"; }

has_llvm_tools() { compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/llvm-profdata" >/dev/null; }
install_llvm_tools() { rustup component add llvm-tools; }

has_llvm_cov() { has cargo-llvm-cov; }
install_llvm_cov() { cargo install cargo-llvm-cov --locked --debug --root "$cache"; }

main "$@"
