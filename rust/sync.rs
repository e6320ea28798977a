//! What calls that wait, and threads that share something, have in common.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Asked now and then by calls that wait; true ends them.
pub(crate) type Interrupted<'a> = &'a mut dyn FnMut() -> bool;

/// Locks, also after a panic: the panic itself is reported, and ends the scan.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
