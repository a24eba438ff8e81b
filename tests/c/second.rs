//! A second static library of Rust, with a standard library of its own, to stand beside liborlop.a in one program.

use std::panic;
use std::sync::atomic::{AtomicI32, Ordering};

static HEARD: AtomicI32 = AtomicI32::new(0);

/// Panics in a thread and in the caller's; how many panics its own hook has heard of: 2.
#[unsafe(no_mangle)]
pub extern "C" fn second_panics() -> i32 {
    panic::set_hook(Box::new(|_| {
        HEARD.fetch_add(1, Ordering::SeqCst);
    }));
    let thread = std::thread::spawn(|| panic!("in a thread")).join();
    let here = panic::catch_unwind(|| panic!("here"));
    if thread.is_ok() || here.is_ok() {
        return -1;
    }
    HEARD.load(Ordering::SeqCst)
}
