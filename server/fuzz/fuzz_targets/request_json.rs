//! The body of a request, through the real router to an answer. The first byte chooses the route.
#![no_main]
use candlepower_fuzz::{allow_caught_panics, server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: allow_caught_panics(), |bytes: &[u8]| {
    if let Some((route, body)) = bytes.split_first() {
        server::request(*route, body);
    }
});
