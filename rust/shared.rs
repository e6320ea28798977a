//! The shared state of the threads of a scan: the queues, one lock, and the flag that ends the scan.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::Row;
use crate::beneath::Root;
use crate::chunk::{CHUNK, Chunk};
use crate::crew::{Crew, PARTS, Threads};
use crate::error::{Error, Result};
use crate::folder::Visit;
use crate::hash::md5::Backend;
use crate::hash::{Algorithm, Hash};
use crate::large::{Large, Pass};
use crate::listing::LISTING;
use crate::memo::{Mark, Memo};
use crate::outbox::Outbox;
use crate::outcome::Failure;
use crate::sync::{Interrupted, lock};
use crate::walk::{Emitter, Walk};
use crate::write::{Destination, Target};

/// The chunks that may be read before the first of them is taken: four batches.
const WINDOW: usize = 4 * LISTING / CHUNK;

/// The longest time that finished rows wait for more rows to fill a batch.
const PATIENCE: Duration = Duration::from_millis(200);

/// The interval at which a waiting caller checks for an interrupt.
const ATTENTION: Duration = Duration::from_millis(50);

/// The settings of a whole scan.
pub(crate) struct Config {
    /// The folder to which paths are relative; None means the working folder.
    pub(crate) root: Option<Arc<Root>>,
    pub(crate) algorithm: Algorithm,
    pub(crate) destination: Option<Arc<Destination>>,
    /// New content is not written but handed over to be sent.
    pub(crate) uploads: bool,
    /// The name of the only object that is written, if uids do not name objects.
    pub(crate) object_name: Option<Vec<u8>>,
    /// The hashes of files that were read before.
    pub(crate) memo: Option<Arc<Memo>>,
    pub(crate) threads: Threads,
}

pub(crate) struct State {
    pub(crate) walk: Option<Walk>,
    /// Listings that no walk makes will be submitted.
    pub(crate) is_fed: bool,
    /// The number of submitted listings.
    pub(crate) submitted: u64,
    /// Chunks with files that no thread has taken.
    waiting: VecDeque<Arc<Chunk>>,
    /// The number of these files.
    unread: usize,
    /// Files that a thread had taken, and left to another one.
    left: Vec<(Arc<Chunk>, Range<usize>)>,
    /// Chunks whose results no caller has taken.
    pub(crate) order: VecDeque<Arc<Chunk>>,
    /// Large files with parts left.
    large: VecDeque<Queued>,
    /// The number of parts left in them.
    parts: usize,
    /// The number of parts that threads work on.
    in_hand: usize,
    pub(crate) outbox: Outbox,
    panic: Option<String>,
    /// The number of threads that were started.
    pub(crate) running: usize,
    /// The number of threads that wait for work.
    idle: usize,
    /// The number of callers that wait for results.
    callers: usize,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) crew: Mutex<Crew>,
    state: Mutex<State>,
    /// Signals that there is work.
    work: Condvar,
    /// Signals that there are results.
    results: Condvar,
    pub(crate) stopped: AtomicBool,
}

/// A large file in the queue.
enum Queued {
    /// A file that is not opened yet: the queue may be long, and descriptors are few.
    Unopened(Large),
    /// A pass over it, and its next part.
    Open(Arc<Pass>, u32),
}

/// The answer to a thread that asks for a part.
pub(crate) enum Claim {
    /// A file to open, with its first part.
    File(Large),
    /// A part by its number.
    Part(Arc<Pass>, u32),
}

/// The work for a thread.
pub(crate) enum Task {
    Parts,
    Emit(Emitter),
    Chunk(Arc<Chunk>, Range<usize>),
    Folder(Box<[u8]>, Visit),
}

impl Config {
    pub(crate) fn root(&self) -> Option<&Root> {
        self.root.as_deref()
    }

    pub(crate) fn memo(&self) -> Option<&Memo> {
        self.memo.as_deref()
    }

    /// Returns true if new content is stored, so that it must be read.
    pub(crate) fn stores(&self) -> bool {
        self.destination.is_some() || self.uploads
    }
}

impl State {
    /// Returns true if all files are settled, and no more will come.
    pub(crate) fn is_all_settled(&self) -> bool {
        self.is_input_over()
            && self.waiting.is_empty()
            && self.order.iter().all(|chunk| chunk.done().is_some())
    }

    /// Returns true if no more chunks will come.
    pub(crate) fn is_input_over(&self) -> bool {
        !self.is_fed && self.walk.as_ref().is_none_or(|walk| walk.listings() == Some(self.submitted))
    }

    /// The number of chunks in the next batch, 0 if the scan is over; or the time until the next check, if it is known.
    pub(crate) fn finished_chunks(&self) -> std::result::Result<usize, Option<Duration>> {
        let mut rows = 0;
        let mut count = 0;
        let mut full = false;
        let mut since = None;
        for chunk in &self.order {
            let Some(done) = chunk.done() else { break };
            if rows + chunk.items.len() > LISTING {
                full = true;
                break;
            }
            rows += chunk.items.len();
            count += 1;
            since.get_or_insert(done);
        }
        let is_last = count == self.order.len() && self.is_input_over();
        let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
        if is_last || full || rows == LISTING || (count > 0 && waited >= PATIENCE) {
            return Ok(count);
        }
        Err(since.map(|_| PATIENCE - waited))
    }

    /// Adds chunks to be read.
    pub(crate) fn extend(&mut self, chunks: impl IntoIterator<Item = Arc<Chunk>>) {
        for chunk in chunks {
            self.unread += chunk.items.len();
            self.waiting.push_back(Arc::clone(&chunk));
            self.order.push_back(chunk);
        }
    }

    /// The number of files that no thread has taken.
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle
    }

    fn task(&mut self, threads: Threads) -> Option<Task> {
        if self.large.is_empty() { self.other_task(threads) } else { Some(Task::Parts) }
    }

    fn other_task(&mut self, threads: Threads) -> Option<Task> {
        // Listings come before chunks: the registry looks up listings while chunks are read.
        if let Some(emitter) = self.walk.as_mut().and_then(Walk::emitter) {
            return Some(Task::Emit(emitter));
        }
        if let Some((chunk, files)) = self.left.pop() {
            return Some(Task::Chunk(chunk, files));
        }
        if self.order.len() - self.waiting.len() < WINDOW
            && let Some(chunk) = self.waiting.front()
        {
            // Many threads wait for each file, so that none should have many left when the others are done.
            let many = self.running > threads.first;
            let most = if many { (self.unread / (2 * self.running)).clamp(1, CHUNK) } else { CHUNK };
            let chunk = Arc::clone(chunk);
            let files = chunk.take(most);
            self.unread -= files.len();
            if files.end == chunk.items.len() {
                self.waiting.pop_front();
            }
            return Some(Task::Chunk(chunk, files));
        }
        let (path, visit) = self.walk.as_mut()?.folder()?;
        Some(Task::Folder(path, visit))
    }
}

impl Shared {
    pub(crate) fn new(config: Config, backend: Backend, walk: Option<Walk>, chunks: Vec<Chunk>) -> Self {
        let mut state = State {
            walk,
            is_fed: false,
            submitted: 0,
            waiting: VecDeque::new(),
            unread: 0,
            left: Vec::new(),
            order: VecDeque::new(),
            large: VecDeque::new(),
            parts: 0,
            in_hand: 0,
            outbox: Outbox::default(),
            panic: None,
            running: 0,
            idle: 0,
            callers: 0,
        };
        state.extend(chunks.into_iter().map(Arc::new));
        Self {
            crew: Mutex::new(Crew::new(config.threads, backend)),
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
        // Under the lock, or a thread that has just checked the flag would miss the signal.
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

    /// Changes the state, and wakes threads and callers that can continue.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        self.wake(state);
        result
    }

    /// Wakes waiting threads and callers. Without waiters, this saves the system call.
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

    /// Waits for work; None if the scan must end.
    pub(crate) fn next_task(&self) -> Option<Task> {
        self.wait_for_work(|state| state.task(self.config.threads))
    }

    /// Other work for a thread that could take more parts, if there are no parts.
    pub(crate) fn task_for_want_of_parts(&self) -> Option<Task> {
        let mut state = self.lock();
        if state.large.is_empty() { state.other_task(self.config.threads) } else { None }
    }

    /// Lets a thread wait until `take` returns something; None if the scan must end.
    pub(crate) fn wait_for_work<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        while !self.is_stopped() {
            if let Some(taken) = take(&mut state) {
                return Some(taken);
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        None
    }

    /// Waits until `take` returns a result. `take` may return the time until the next attempt.
    ///
    /// The scan ends when the caller is interrupted.
    pub(crate) fn wait_for<T>(
        self: &Arc<Self>,
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
                    let attention = ATTENTION.saturating_sub(asked.elapsed());
                    let review = self.review_due();
                    let pause = [again, review].into_iter().flatten().fold(attention, Duration::min);
                    state.callers += 1;
                    let waited = self.results.wait_timeout(state, pause);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    state.callers -= 1;
                    if review.is_some() {
                        drop(state);
                        self.review();
                        state = self.lock();
                    }
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

    /// Leaves the second half of the files that a thread has still to read to a thread without work, if there is one.
    pub(crate) fn leave_half(&self, chunk: &Arc<Chunk>, files: &mut Range<usize>) {
        let mut state = self.lock();
        if files.len() > 1 && state.idle > state.left.len() {
            let middle = files.start + files.len().div_ceil(2);
            state.left.push((Arc::clone(chunk), middle..files.end));
            files.end = middle;
            self.wake(state);
        }
    }

    /// Offers large files to all threads.
    pub(crate) fn offer(&self, files: impl IntoIterator<Item = Large>) {
        self.update(|state| {
            for file in files {
                state.parts += file.parts;
                state.large.push_back(Queued::Unopened(file));
            }
        });
    }

    /// Offers the parts of an open file, from `next` on, before those of other files.
    pub(crate) fn offer_parts(&self, pass: Arc<Pass>, next: u32) {
        let parts = pass.parts.count.saturating_sub(next) as usize;
        if parts > 0 {
            self.update(|state| {
                state.parts += parts;
                state.large.push_front(Queued::Open(pass, next));
            });
        }
    }

    /// The next part for a thread that holds `held` parts: at most its share of all unfinished parts.
    pub(crate) fn claim_part(&self, held: usize) -> Option<Claim> {
        let mut state = self.lock();
        // A thread that waits for one of its parts does not read the others meanwhile.
        let many = state.running > self.config.threads.first;
        let most = if many { PARTS } else { usize::MAX };
        let share = (state.parts + state.in_hand).div_ceil(state.running);
        if held >= share.min(most) {
            return None;
        }
        let claim = match state.large.pop_front()? {
            Queued::Unopened(file) => {
                state.parts -= file.parts;
                Claim::File(file)
            }
            Queued::Open(pass, part) => {
                state.parts -= 1;
                if part + 1 < pass.parts.count {
                    state.large.push_front(Queued::Open(Arc::clone(&pass), part + 1));
                }
                Claim::Part(pass, part)
            }
        };
        state.in_hand += 1;
        Some(claim)
    }

    /// Records that a thread is done with a part, or with a file that it was to open.
    pub(crate) fn put_down(&self) {
        self.lock().in_hand -= 1;
    }

    /// Records the outcome of a file.
    pub(crate) fn settle(&self, chunk: &Chunk, index: usize, outcome: std::result::Result<Row, Failure>) {
        if !chunk.settle(index, outcome) {
            return;
        }
        let state = self.lock();
        // Wake the consumer only when a batch is full; waking it earlier takes a core from the workers.
        if state.finished_chunks().is_ok() {
            self.wake(state);
        }
    }

    /// Remembers the hash of a file that did not change while it was read.
    pub(crate) fn remember(&self, chunk: &Chunk, index: usize, mark: Option<Mark>, hash: &Hash) {
        if let (Some(memo), Some(mark)) = (self.config.memo(), mark) {
            memo.keep(mark, hash, || chunk.listing.path(chunk.items[index].ordinal as usize));
        }
    }

    /// Creates the object of a file, if objects are written.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;

    fn of_two_threads() -> (Shared, Arc<Chunk>) {
        let config = Config {
            root: None,
            algorithm: Algorithm::Md5Whole,
            destination: None,
            uploads: false,
            object_name: None,
            memo: None,
            threads: Threads { first: 2, most: 2 },
        };
        let listing = Arc::new(Listing::new(Arc::default(), 0));
        let chunk = Arc::new(Chunk::new(listing, Vec::new(), Vec::new()));
        (Shared::new(config, Backend::active().unwrap(), None, Vec::new()), chunk)
    }

    #[test]
    fn a_thread_gets_its_share_whatever_another_holds() {
        let (shared, chunk) = of_two_threads();
        shared.offer((0..65).map(|index| Large { chunk: Arc::clone(&chunk), index, parts: 1 }));
        shared.lock().running = 2;
        let claimed = || (0..).take_while(|&held| shared.claim_part(held).is_some()).count();
        assert_eq!([claimed(), claimed(), claimed()], [33, 32, 0]);
    }

    #[test]
    fn a_thread_leaves_half_of_its_files_to_one_without_work() {
        let (shared, chunk) = of_two_threads();
        let mut files = 0..9;
        shared.leave_half(&chunk, &mut files);
        assert_eq!(files, 0..9, "the other one has work");
        shared.lock().idle = 1;
        shared.leave_half(&chunk, &mut files);
        shared.leave_half(&chunk, &mut files);
        assert_eq!(files, 0..5, "it needs no more");
        assert!(matches!(shared.next_task(), Some(Task::Chunk(_, left)) if left == (5..9)));
        let mut last = 0..1;
        shared.leave_half(&chunk, &mut last);
        assert_eq!(last, 0..1);
    }
}
