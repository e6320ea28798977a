//! What the threads of a scan share: the queues, one lock, and the flag that ends it all.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::CWD;

use crate::batch::Row;
use crate::chunk::Chunk;
use crate::copy::{Destination, Target};
use crate::error::{Error, Result};
use crate::folder::Visit;
use crate::hash::Algorithm;
use crate::listing::LISTING;
use crate::parts::Job;
use crate::record::Failure;
use crate::walk::{Emitter, Walk};

/// Chunks that may be read before the first of them is taken: four batches.
const WINDOW: usize = 4 * LISTING / crate::chunk::CHUNK;

/// How often a waiting caller looks whether it is interrupted.
const ATTENTION: Duration = Duration::from_millis(50);

/// Asked now and then by calls that wait; true ends them.
pub(crate) type Interrupted<'a> = &'a mut dyn FnMut() -> bool;

/// Locks, also after a panic: the panic itself is reported, and ends the scan.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What holds for a whole scan.
pub(crate) struct Config {
    /// What paths are relative to; None is the working folder.
    pub(crate) root: Option<Arc<OwnedFd>>,
    pub(crate) algorithm: Algorithm,
    pub(crate) destination: Option<Arc<Destination>>,
    /// The name of the one object that is written, when uids do not name them.
    pub(crate) object_name: Option<Vec<u8>>,
    pub(crate) threads: usize,
}

pub(crate) struct State {
    pub(crate) walk: Option<Walk>,
    /// Listings that were submitted.
    pub(crate) submitted: u64,
    /// Chunks that nobody has begun.
    pub(crate) waiting: VecDeque<Arc<Chunk>>,
    /// Chunks that nobody has taken the results of.
    pub(crate) order: VecDeque<Arc<Chunk>>,
    /// Large files that have parts left, and the next part of each.
    jobs: VecDeque<(Arc<Job>, u32)>,
    parts: usize,
    panic: Option<String>,
    /// Threads that wait for something to do.
    idle: usize,
    /// Callers that wait for something to take.
    callers: usize,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// There is something to take.
    results: Condvar,
    pub(crate) stopped: AtomicBool,
}

/// Something for a thread to do.
pub(crate) enum Task {
    Parts,
    Emit(Emitter),
    Chunk(Arc<Chunk>),
    Folder(Box<[u8]>, Visit),
}

impl Config {
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_ref().map_or(CWD, |root| root.as_fd())
    }
}

impl State {
    /// Whether no more chunks will come.
    pub(crate) fn is_input_over(&self) -> bool {
        self.walk.as_ref().is_none_or(|walk| walk.listings() == Some(self.submitted))
    }

    fn task(&mut self) -> Option<Task> {
        if !self.jobs.is_empty() {
            return Some(Task::Parts);
        }
        // Listings come before chunks: while these are read, the registry looks up those.
        if let Some(emitter) = self.walk.as_mut().and_then(Walk::emitter) {
            return Some(Task::Emit(emitter));
        }
        if self.order.len() - self.waiting.len() < WINDOW
            && let Some(chunk) = self.waiting.pop_front()
        {
            return Some(Task::Chunk(chunk));
        }
        let (path, visit) = self.walk.as_mut()?.folder()?;
        Some(Task::Folder(path, visit))
    }
}

impl Shared {
    pub(crate) fn new(config: Config, walk: Option<Walk>, chunks: Vec<Chunk>) -> Self {
        let chunks: VecDeque<_> = chunks.into_iter().map(Arc::new).collect();
        let state = State {
            walk,
            submitted: 0,
            waiting: chunks.clone(),
            order: chunks,
            jobs: VecDeque::new(),
            parts: 0,
            panic: None,
            idle: 0,
            callers: 0,
        };
        Self {
            config,
            state: Mutex::new(state),
            work: Condvar::new(),
            results: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        // Under the lock, or a thread that has just looked would sleep through it.
        let state = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        self.wake(state);
    }

    /// Ends the scan because a thread panicked.
    pub(crate) fn panicked(&self, message: String) {
        self.lock().panic.get_or_insert(message);
        self.stop();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the state and wakes whoever may go on now.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        self.wake(state);
        result
    }

    /// Wakes whoever waits. A wake-up that nobody waits for would still be a system call.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let (idle, callers) = (state.idle, state.callers);
        drop(state);
        if idle > 0 {
            self.work.notify_all();
        }
        if callers > 0 {
            self.results.notify_all();
        }
    }

    /// Waits for something to do; None when the scan is to end.
    pub(crate) fn next_task(&self) -> Option<Task> {
        let mut state = self.lock();
        while !self.is_stopped() {
            if let Some(task) = state.task() {
                return Some(task);
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        None
    }

    /// Waits until `take` gives something. It may say when to ask again.
    ///
    /// The scan ends when the caller is interrupted.
    pub(crate) fn wait_for<T>(
        &self,
        interrupted: Interrupted<'_>,
        mut take: impl FnMut(&mut State) -> std::result::Result<T, Option<Duration>>,
    ) -> Result<T> {
        let mut asked = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(message) = &state.panic {
                return Err(Error::Panicked(message.clone()));
            }
            if self.is_stopped() {
                return Err(Error::Stopped);
            }
            match take(&mut state) {
                Ok(taken) => {
                    // There is room now.
                    self.wake(state);
                    return Ok(taken);
                }
                Err(again) => {
                    let pause = again.map_or(ATTENTION, |again| again.min(ATTENTION));
                    state.callers += 1;
                    let waited = self.results.wait_timeout(state, pause);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    state.callers -= 1;
                    if asked.elapsed() >= ATTENTION {
                        drop(state);
                        if interrupted() {
                            self.stop();
                        }
                        asked = Instant::now();
                        state = self.lock();
                    }
                }
            }
        }
    }

    /// Offers the parts of large files to all threads.
    pub(crate) fn publish(&self, jobs: impl IntoIterator<Item = Arc<Job>>) {
        self.update(|state| {
            for job in jobs {
                state.parts += job.parts.count as usize;
                state.jobs.push_back((job, 0));
            }
        });
    }

    /// The next part for a thread that holds `held` already: no more than its share of what is left.
    pub(crate) fn claim_part(&self, held: usize) -> Option<(Arc<Job>, u32)> {
        let mut state = self.lock();
        let share = (state.parts + held).div_ceil(self.config.threads);
        if held >= share {
            return None;
        }
        let (job, next) = state.jobs.front_mut()?;
        let claimed = (Arc::clone(job), *next);
        *next += 1;
        if *next == claimed.0.parts.count {
            state.jobs.pop_front();
        }
        state.parts -= 1;
        Some(claimed)
    }

    /// Notes what became of a file.
    pub(crate) fn settle(&self, chunk: &Chunk, index: usize, outcome: std::result::Result<Row, Failure>) {
        if chunk.settle(index, outcome) {
            self.wake(self.lock());
        }
    }

    /// Creates the object of a file, if objects are to be written.
    pub(crate) fn create_target(
        &self,
        chunk: &Chunk,
        index: usize,
    ) -> std::result::Result<Option<Arc<Target>>, Failure> {
        let Some(destination) = &self.config.destination else { return Ok(None) };
        Target::create(destination, &self.object_name(chunk, index)).map(|target| Some(Arc::new(target)))
    }

    pub(crate) fn object_name(&self, chunk: &Chunk, index: usize) -> Vec<u8> {
        let item = &chunk.items[index];
        let by_uid = || chunk.listing.object_key(item.ordinal as usize, item.uid).into_bytes();
        self.config.object_name.clone().unwrap_or_else(by_uid)
    }
}
