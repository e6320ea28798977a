//! The threads of a scan: one per core, and more while they wait for a file system that answers slowly.
//!
//! They wait if the process uses little of the cores, and few of its threads are runnable. (Others are runnable, too, if
//! another process has the cores.) On systems without `/proc`, only the first is known.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, nice};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};
use crate::hash::md5::Backend;
use crate::shared::Shared;
use crate::sync::lock;
use crate::worker;

/// The niceness of the threads that read, so that the event loop and the writer of rows come first. Otherwise they
/// would fill all cores, and a timer of the loop would fire 10 to 20 ms late instead of 5 to 10.
const NICENESS: i32 = 10;

/// The most threads that wait for a file system, if there are fewer cores.
const WAITING: usize = 64;

/// The most descriptors of one of many threads: a folder, a file, its state, and its parts of large files.
const DESCRIPTORS: u64 = 3 + PARTS as u64;

/// The descriptors that all else has besides half of them: the requests under way to a storage.
const OTHERS: u64 = 64;

/// The most parts of large files that one of many threads holds.
pub(crate) const PARTS: usize = 4;

/// The shortest and the longest time over which the use of the cores is measured. It doubles while nothing changes.
const REVIEW: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// The share of the cores that is in use when more threads are of no use.
const FULL: f64 = 0.75;

/// The number of threads of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// At the start.
    pub first: usize,
    /// While they wait for the file system.
    pub most: usize,
}

impl Threads {
    /// At most so many threads; 0 means as many as are of use.
    #[must_use]
    pub fn at_most(asked: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if asked > 0 {
            return Self { first: cores.min(asked), most: asked };
        }
        let bearable = getrlimit(Resource::Nofile)
            .current
            .map_or(WAITING as u64, |limit| (limit / 2).saturating_sub(OTHERS) / DESCRIPTORS);
        let waiting = WAITING.min(usize::try_from(bearable).unwrap_or(WAITING));
        Self { first: cores, most: cores.max(waiting) }
    }

    /// The number of threads to add to `count`, if so many cores are in use, and so many threads have no work, or could
    /// use a core now.
    fn to_add(self, count: usize, cores: f64, idle: usize, runnable: usize) -> usize {
        let of_no_use = idle > 0 || cores > FULL * self.first as f64 || runnable >= self.first;
        if of_no_use { 0 } else { count.min(self.most.saturating_sub(count)) }
    }
}

/// The threads that are running.
pub(crate) struct Crew {
    threads: Threads,
    backend: Backend,
    /// The states of the threads, as the kernel shows them.
    states: Vec<File>,
    handles: Vec<JoinHandle<()>>,
    reviewed: Instant,
    /// The CPU time of the process at the last review.
    used: Duration,
    pause: Duration,
}

impl Crew {
    pub(crate) fn new(threads: Threads, backend: Backend) -> Self {
        let (reviewed, used) = (Instant::now(), cpu_time());
        let (states, handles) = (Vec::new(), Vec::new());
        Self { threads, backend, states, handles, reviewed, used, pause: REVIEW[0] }
    }

    /// The time until the next review; None if there is none.
    fn due(&self) -> Option<Duration> {
        let can_grow = self.handles.len() < self.threads.most;
        can_grow.then(|| self.pause.saturating_sub(self.reviewed.elapsed()))
    }

    /// The number of threads to add, given how many have no work.
    fn wanted(&mut self, idle: usize) -> usize {
        let (elapsed, used) = (self.reviewed.elapsed(), cpu_time());
        let cores = used.saturating_sub(self.used).as_secs_f64() / elapsed.as_secs_f64();
        (self.reviewed, self.used) = (Instant::now(), used);
        let runnable = self.states.iter().filter(|state| is_runnable(state)).count();
        let wanted = self.threads.to_add(self.handles.len(), cores, idle, runnable);
        self.pause = if wanted > 0 { REVIEW[0] } else { (2 * self.pause).min(REVIEW[1]) };
        wanted
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Returns true if a thread computes or queues for a core, by the third field of its `stat`; see `proc_pid_stat(5)`.
fn is_runnable(stat: &File) -> bool {
    let mut text = [0; 64];
    let length = stat.read_at(&mut text, 0).unwrap_or(0);
    text[..length].windows(3).any(|window| window == b") R")
}

impl Shared {
    /// Starts the first threads.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<()> {
        self.hire(self.config.threads.first)
    }

    fn hire(self: &Arc<Self>, count: usize) -> Result<()> {
        self.lock().running += count;
        let mut crew = lock(&self.crew);
        for _ in 0..count {
            let shared = Arc::clone(self);
            let backend = crew.backend;
            let thread = std::thread::Builder::new()
                .name("inhaul-scan".to_owned())
                .spawn(move || {
                    let _ = nice(NICENESS); // only of this thread, on Linux; a failure is harmless
                    lock(&shared.crew).states.extend(File::open("/proc/thread-self/stat").ok());
                    worker::run(&shared, backend);
                })
                .map_err(|error| Error::Invalid(format!("no thread can be started: {error}")))?;
            crew.handles.push(thread);
        }
        Ok(())
    }

    /// The time until the next review of the number of threads; None if it will not change.
    pub(crate) fn review_due(&self) -> Option<Duration> {
        lock(&self.crew).due()
    }

    /// Adds threads if those that run wait for the file system.
    pub(crate) fn review(self: &Arc<Self>) {
        let idle = self.lock().idle();
        let mut crew = lock(&self.crew);
        if crew.due() != Some(Duration::ZERO) {
            return;
        }
        let wanted = crew.wanted(idle);
        drop(crew);
        let _ = self.hire(wanted); // the system may allow no more
    }

    /// Waits until all threads have ended.
    pub(crate) fn dismiss(&self) {
        let handles = std::mem::take(&mut lock(&self.crew).handles);
        for thread in handles {
            // A panic was caught in the thread; the waiting call reports it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    const TWO: Threads = Threads { first: 2, most: 12 };

    #[test]
    fn threads_that_wait_double() {
        assert_eq!(TWO.to_add(2, 0.1, 0, 0), 2);
        assert_eq!(TWO.to_add(8, 1.4, 0, 1), 4);
        assert_eq!(TWO.to_add(12, 0.1, 0, 0), 0);
        assert_eq!(TWO.to_add(2, 1.8, 0, 0), 0, "the cores are busy");
        assert_eq!(TWO.to_add(2, 0.1, 1, 0), 0, "one has no work");
        assert_eq!(TWO.to_add(2, 0.1, 0, 2), 0, "another process has the cores");
    }

    /// Looks a hundred times whether a thread is runnable that does `work` again and again.
    #[cfg(target_os = "linux")]
    fn runnable(work: fn()) -> usize {
        let (sender, receiver) = channel();
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.send(File::open("/proc/thread-self/stat").unwrap()).unwrap();
                while !stopped.load(Ordering::Relaxed) {
                    work();
                }
            });
            let stat = receiver.recv().unwrap();
            let looks = (0..100).map(|_| {
                std::thread::sleep(Duration::from_millis(1));
                usize::from(is_runnable(&stat))
            });
            let count = looks.sum();
            stopped.store(true, Ordering::Relaxed);
            count
        })
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_that_computes_is_runnable_and_one_that_sleeps_is_not() {
        assert!(runnable(std::hint::spin_loop) > 90);
        assert!(runnable(|| std::thread::sleep(Duration::from_millis(10))) < 30);
    }

    #[test]
    fn a_limit_bounds_the_threads() {
        assert_eq!(Threads::at_most(1), Threads { first: 1, most: 1 });
        assert_eq!(Threads::at_most(1000).most, 1000);
        assert!(Threads::at_most(0).most >= Threads::at_most(0).first);
    }
}
