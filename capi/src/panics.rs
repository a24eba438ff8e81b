//! What Rust prints of a panic goes to the log: a library writes nothing on its host's standard error.

use std::sync::Once;

// Defined by scripts/link-capi alone, that is where std is liborlop's own copy. In a Rust program, which shares its std with us,
// it stays undefined, and the program's hook as it is.
#[cfg(target_pointer_width = "64")]
std::arch::global_asm!(
    ".weak orlop_own_std",
    ".pushsection .data.rel.ro.orlop_own_std, \"aw\"",
    ".balign 8",
    ".globl orlop_own_std_at",
    "orlop_own_std_at:",
    ".quad orlop_own_std",
    ".popsection",
);
#[cfg(target_pointer_width = "32")]
std::arch::global_asm!(
    ".weak orlop_own_std",
    ".pushsection .data.rel.ro.orlop_own_std, \"aw\"",
    ".balign 4",
    ".globl orlop_own_std_at",
    "orlop_own_std_at:",
    ".long orlop_own_std",
    ".popsection",
);

unsafe extern "C" {
    static orlop_own_std_at: usize;
}

/// Before the first call whose panics are caught.
pub(crate) fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a word of read-only data, defined above.
        let own = unsafe { orlop_own_std_at } != 0;
        if own {
            std::panic::set_hook(Box::new(|panic| {
                tracing::error!("a defect of orlop: {}", panic.to_string().replace('\n', " "));
            }));
        }
    });
}

/// Panics on purpose where the environment variable ORLOP_PANIC names this point; only in the build that tests/c makes.
#[cfg(feature = "panic-test")]
#[allow(clippy::panic)]
pub(crate) fn point(name: &str) {
    if std::env::var_os("ORLOP_PANIC").is_some_and(|wanted| wanted == name) {
        panic!("on purpose, at the point {name:?}");
    }
}

#[cfg(not(feature = "panic-test"))]
pub(crate) fn point(_: &str) {}

#[cfg(test)]
mod tests {
    #[test]
    fn a_rust_program_keeps_its_hook() {
        super::silence();
        // SAFETY: a word of read-only data.
        assert_eq!(unsafe { super::orlop_own_std_at }, 0, "only scripts/link-capi defines it");
    }
}
