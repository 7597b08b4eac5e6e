//! A `tokenizer.json`, and texts through the tokenizer that it makes.
#![no_main]
use candlepower_fuzz::{allow_caught_panics, files, text};
use candlepower_server::{load::gguf::Metadata, text::Tokenizer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: allow_caught_panics(), |bytes: &[u8]| {
    let path = files::write("fuzzed.json", bytes);
    if let Ok(tokenizer) = Tokenizer::from_file(&path, &Metadata::default()) {
        text::tokenise(&tokenizer);
    }
});
