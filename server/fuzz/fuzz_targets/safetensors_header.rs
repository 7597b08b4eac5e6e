//! A safetensors file beside a good `config.json` and `tokenizer.json`.
#![no_main]
use candlepower_fuzz::{allow_caught_panics, files};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: allow_caught_panics(), |bytes: &[u8]| {
    files::open_model(&files::write("model.safetensors", bytes));
});
