//! No panic can happen here, and that is checked when the library is linked.
//!
//! The profile `loader` (build-matrix uses it) sets `panic = "abort"`. Then the panic handler is the
//! one below: it calls a function that exists nowhere. Were any panic reachable, the linker would
//! keep the handler and complain about `pyxis_loader_may_panic`; as none is, it drops both.
//! Other profiles (cargo check, clippy, a debug build) take std's handler and prove nothing.

#[cfg(not(panic = "abort"))]
extern crate std;

#[cfg(panic = "abort")]
unsafe extern "C" {
    fn pyxis_loader_may_panic() -> !;
}

#[cfg(panic = "abort")]
#[panic_handler]
fn handler(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never linked, so never called.
    unsafe { pyxis_loader_may_panic() }
}
