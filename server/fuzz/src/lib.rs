//! What the fuzz targets share: each puts foreign bytes through what the server does with them.
#![forbid(unsafe_code)]
pub mod files;
pub mod server;
pub mod text;

/// Lets a panic that the server catches itself pass: libFuzzer's own hook ends the process before
/// anybody can. A panic that nobody catches still counts. `FUZZ_VERBOSE=1` shows them all.
pub fn allow_caught_panics() {
    let _ = std::panic::take_hook();
    if std::env::var_os("FUZZ_VERBOSE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
}
