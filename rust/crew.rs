//! The threads of a scan: one per core, and more while they wait for a file system that answers slowly.
//!
//! A thread waits if it neither computes nor queues for a core. Linux counts both times for each thread. On other
//! systems, the number of threads stays.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, nice};

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

/// The most descriptors of one of many threads: a folder, a file, its times, and its parts of large files.
const DESCRIPTORS: u64 = 3 + PARTS as u64;

/// The most parts of large files that one of many threads holds.
pub(crate) const PARTS: usize = 4;

/// The shortest and the longest time between two reviews. It doubles while nothing changes.
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
        // Half of the descriptors are for all else.
        let bearable =
            getrlimit(Resource::Nofile).current.map_or(WAITING as u64, |limit| limit / 2 / DESCRIPTORS);
        let waiting = WAITING.min(usize::try_from(bearable).unwrap_or(WAITING));
        Self { first: cores, most: cores.max(waiting) }
    }
}

/// The threads that are running.
pub(crate) struct Crew {
    threads: Threads,
    backend: Backend,
    members: Vec<Member>,
    handles: Vec<JoinHandle<()>>,
    reviewed: Instant,
    pause: Duration,
}

struct Member {
    /// The kernel's times of the thread, if it counts them.
    times: Option<File>,
    /// The time that it has computed or queued for a core.
    used: Duration,
}

impl Crew {
    pub(crate) fn new(threads: Threads, backend: Backend) -> Self {
        let (reviewed, pause) = (Instant::now(), REVIEW[0]);
        Self { threads, backend, members: Vec::new(), handles: Vec::new(), reviewed, pause }
    }

    /// The time until the next review; None if there is none.
    fn due(&self) -> Option<Duration> {
        let can_grow = self.members.len() < self.threads.most;
        can_grow.then(|| self.pause.saturating_sub(self.reviewed.elapsed()))
    }

    /// The number of threads to add, given how many have no work; None if the cores are busy, or nobody counts times.
    fn wanted(&mut self, idle: usize) -> Option<usize> {
        let elapsed = std::mem::replace(&mut self.reviewed, Instant::now()).elapsed();
        let mut used = Duration::ZERO;
        for member in &mut self.members {
            let now = member.times.as_ref().and_then(used_by)?;
            used += now.saturating_sub(member.used);
            member.used = now;
        }
        let count = self.members.len();
        let is_full = used.as_secs_f64() > FULL * self.threads.first as f64 * elapsed.as_secs_f64();
        let wanted = if idle > 0 || is_full { 0 } else { count.min(self.threads.most - count) };
        self.pause = if wanted > 0 { REVIEW[0] } else { (2 * self.pause).min(REVIEW[1]) };
        (!is_full).then_some(wanted)
    }
}

/// The time that a thread has computed or queued for a core; None if it has ended.
///
/// The format is in the kernel's `Documentation/scheduler/sched-stats.rst`.
fn used_by(times: &File) -> Option<Duration> {
    let mut text = [0; 64];
    let length = times.read_at(&mut text, 0).ok()?;
    let mut numbers = str::from_utf8(&text[..length]).ok()?.split_whitespace();
    let mut next = || numbers.next()?.parse().ok().map(Duration::from_nanos);
    Some(next()? + next()?)
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
                    let times = File::open("/proc/thread-self/schedstat").ok();
                    lock(&shared.crew).members.push(Member { times, used: Duration::ZERO });
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
        match wanted {
            Some(wanted) => {
                let _ = self.hire(wanted); // the system may allow no more
            }
            None => self.lock().computes = true,
        }
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

    /// The threads that a crew of one wants while its only member runs `work` again and again.
    fn wanted(idle: usize, work: fn()) -> Option<usize> {
        let mut crew = Crew::new(Threads { first: 1, most: 4 }, Backend::active().unwrap());
        let (sender, receiver) = channel();
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.send(File::open("/proc/thread-self/schedstat").ok()).unwrap();
                while !stopped.load(Ordering::Relaxed) {
                    work();
                }
            });
            let times = receiver.recv().unwrap();
            let used = times.as_ref().and_then(used_by).unwrap();
            crew.members.push(Member { times, used });
            crew.reviewed = Instant::now();
            std::thread::sleep(Duration::from_millis(100));
            let wanted = crew.wanted(idle);
            stopped.store(true, Ordering::Relaxed);
            wanted
        })
    }

    #[test]
    fn threads_that_wait_get_help_and_threads_that_compute_do_not() {
        assert_eq!(wanted(0, || std::thread::sleep(Duration::from_millis(1))), Some(1));
        assert_eq!(wanted(1, || std::thread::sleep(Duration::from_millis(1))), Some(0));
        assert_eq!(wanted(0, std::hint::spin_loop), None);
    }

    #[test]
    fn a_limit_bounds_the_threads() {
        assert_eq!(Threads::at_most(1), Threads { first: 1, most: 1 });
        assert_eq!(Threads::at_most(1000).most, 1000);
        assert!(Threads::at_most(0).most >= Threads::at_most(0).first);
    }
}
