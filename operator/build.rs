//! Folds functions whose code is the same into one: generic code for each Kubernetes type makes the
//! operator's binary a good deal larger than what it does (decision 0015).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is =
        |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    // Where Rust's own linker is the default; others may not know the flag.
    let own_linker = is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu");
    if own_linker {
        println!("cargo::rustc-link-arg-bin=candlepower-operator=-Wl,--icf=all");
    }
}
