//! The least that reading a folder can cost: `floor FOLDER THREADS` walks it, opens, reads and closes every regular
//! file, hashes nothing, and prints `files bytes seconds`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use rustix::fs::{Mode, OFlags, openat};

const BUFFER: usize = 1 << 20;

/// Folders to be read, and the number of threads that may still find others.
struct Queue {
    state: Mutex<(Vec<PathBuf>, usize)>,
    changed: Condvar,
}

impl Queue {
    fn push(&self, folder: PathBuf) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.push(folder);
        self.changed.notify_one();
    }

    /// The next folder, or `None` once every thread waits for one.
    fn pop(&self) -> Option<PathBuf> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 -= 1;

        loop {
            if let Some(folder) = state.0.pop() {
                state.1 += 1;
                return Some(folder);
            }
            if state.1 == 0 {
                self.changed.notify_all();
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Reads a file of an open folder, so that its path is not resolved from the root. A short read counts as the end.
fn read(folder: &File, name: &OsStr, buffer: &mut [u8]) -> io::Result<u64> {
    let mut file = File::from(openat(folder, name, OFlags::CLOEXEC, Mode::empty())?);
    let mut size = 0;

    loop {
        let n = file.read(buffer)?;
        size += n as u64;
        if n < buffer.len() {
            return Ok(size);
        }
    }
}

fn work(queue: &Queue) -> io::Result<(u64, u64)> {
    let mut buffer = vec![0; BUFFER];
    let (mut files, mut bytes) = (0, 0);

    while let Some(folder) = queue.pop() {
        let opened = File::open(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                queue.push(entry.path());
            } else if kind.is_file() {
                bytes += read(&opened, &entry.file_name(), &mut buffer)?;
                files += 1;
            }
        }
    }

    Ok((files, bytes))
}

fn main() -> io::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder, threads] = arguments.as_slice() else {
        return Err(io::Error::other("usage: floor FOLDER THREADS"));
    };
    let threads: usize = threads.to_str().and_then(|text| text.parse().ok()).unwrap_or(1);

    let start = Instant::now();
    let queue = Queue { state: Mutex::new((vec![folder.into()], threads)), changed: Condvar::new() };
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&queue))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| io::Error::other("a thread panicked"))?)
            .collect::<io::Result<Vec<_>>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();

    let files: u64 = counts.iter().map(|count| count.0).sum();
    let bytes: u64 = counts.iter().map(|count| count.1).sum();
    println!("{files} {bytes} {seconds:.6}");
    Ok(())
}
