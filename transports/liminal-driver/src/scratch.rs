//! Memory to read into, shared by all connections of a thread: an idle connection holds none.

use std::cell::RefCell;

/// What one read may bring: what a socket buffer commonly holds.
const SIZE: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the scratch memory of this thread, or fresh memory when it is lent out already.
pub fn with_scratch<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => {
            scratch.resize(SIZE, 0);
            use_it(&mut scratch)
        }
        Err(_) => use_it(&mut vec![0; SIZE]),
    })
}
