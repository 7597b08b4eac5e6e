//! A chat template, compiled and filled with a conversation.
#![no_main]
use candlepower_fuzz::{allow_caught_panics, text};
use candlepower_server::text::ChatTemplate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: allow_caught_panics(), |source: &str| {
    let compiled = ChatTemplate::compile(source, "<s>".to_owned(), "</s>".to_owned());
    if let Ok(template) = compiled {
        text::converse(&template);
    }
});
