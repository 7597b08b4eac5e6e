//! Links the operator so that it stays small: functions whose code is the same are folded into one, and
//! relocations are packed. Generic code for each Kubernetes type makes its binary a good deal larger
//! than what it does (decision 0015).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is =
        |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    // Where Rust's own linker is the default; others may not know the flag.
    let own_linker = is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu");
    if own_linker {
        for flag in ["--icf=all", "-z,pack-relative-relocs"] {
            println!("cargo::rustc-link-arg-bin=candlepower-operator=-Wl,{flag}");
        }
    }
}
