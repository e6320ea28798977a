//! Helpers for waiting calls and for threads that share state.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A function that waiting calls call from time to time; true ends them.
pub(crate) type Interrupted<'a> = &'a mut dyn FnMut() -> bool;

/// Locks a mutex, even after a panic: the panic itself is reported, and ends the scan.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
