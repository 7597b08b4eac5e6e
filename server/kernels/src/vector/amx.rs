//! AMX: eight tiles of up to sixteen rows of 64 bytes (Intel's manual of extensions, chapter 3).
//!
//! Linux lets only those processes use it that have asked for it, because tiles make the frames of
//! signals larger.
use std::{
    arch::{asm, x86_64::__cpuid_count},
    sync::LazyLock,
};

/// Whether there are tiles of int8 and bf16. The first call asks the kernel for them, for all threads
/// of the process, also later ones; it refuses where a hypervisor or a filter of system calls does.
pub(super) fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_tiles() && may_use_tiles());
    *AVAILABLE
}

/// Intel's manual, volume 2, CPUID leaf 7: AMX-BF16, AMX-TILE and AMX-INT8.
fn has_tiles() -> bool {
    const ALL: u32 = (1 << 22) | (1 << 24) | (1 << 25);
    is_x86_feature_detected!("avx512bf16") && __cpuid_count(7, 0).edx & ALL == ALL
}

/// Linux, Documentation/arch/x86/xstate.rst.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: this call takes two numbers and touches no memory of this process.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        )
    };
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// How the tiles are shaped, as LDTILECFG reads it.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static FULL: Shapes = Shapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Shapes the calling thread's tiles.
///
/// # Safety
/// The machine must have tiles, and the process leave to use them.
pub(crate) unsafe fn configure() {
    // SAFETY: palette 1 has such tiles.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const FULL, options(nostack, preserves_flags, readonly));
    }
}

/// Gives the tiles up: a thread without has less to save when it is put aside.
///
/// # Safety
/// As [`configure`].
pub(crate) unsafe fn release() {
    // SAFETY: it touches tiles only.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
}
