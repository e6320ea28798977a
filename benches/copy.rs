//! The best plain copy: `copy FOLDER DESTINATION THREADS` copies every regular file into 62 new folders under
//! DESTINATION, without hashing. A separate thread calls `syncfs` after every 16,384 files and at the end. The program
//! prints `files bytes seconds`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

const BUFFER: usize = 1 << 20;
const FOLDERS: usize = 62;
const SYNC_EVERY: usize = 16_384;
const CHUNK: usize = 64;

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn copy(source: &Path, destination: &Path, buffer: &mut [u8]) -> io::Result<u64> {
    let mut from = File::open(source)?;
    let mut to = File::create_new(destination)?;
    let mut size = 0;

    loop {
        match from.read(buffer)? {
            0 => return Ok(size),
            n => {
                to.write_all(&buffer[..n])?;
                size += n as u64;
            }
        }
    }
}

/// What the copying threads share.
struct Job {
    files: Vec<PathBuf>,
    destination: PathBuf,
    next: AtomicUsize,
    done: AtomicUsize,
}

impl Job {
    /// Copies chunk after chunk until none is left.
    fn copy_all(&self, sync: &Sender<()>) -> io::Result<u64> {
        let mut buffer = vec![0; BUFFER];
        let mut bytes = 0;

        loop {
            let first = self.next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = self.files.get(first..) else {
                return Ok(bytes);
            };
            let chunk = &rest[..rest.len().min(CHUNK)];

            for (index, source) in (first..).zip(chunk) {
                let target = self.destination.join(format!("{}/{index:020}", index % FOLDERS));
                bytes += copy(source, &target, &mut buffer)?;
            }

            let before = self.done.fetch_add(chunk.len(), Ordering::Relaxed);
            if before / SYNC_EVERY != (before + chunk.len()) / SYNC_EVERY {
                sync.send(()).map_err(io::Error::other)?;
            }
        }
    }

    fn sync_all(&self, asked: Receiver<()>) -> io::Result<()> {
        let root = File::open(&self.destination)?;
        for () in asked {
            rustix::fs::syncfs(&root)?;
        }
        Ok(rustix::fs::syncfs(&root)?)
    }

    fn run(&self, threads: usize) -> io::Result<u64> {
        let panicked = |_| io::Error::other("a thread panicked");

        std::thread::scope(|scope| {
            let (sync, asked) = mpsc::channel();
            let syncer = scope.spawn(|| self.sync_all(asked));
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let sync = sync.clone();
                    scope.spawn(move || self.copy_all(&sync))
                })
                .collect();
            drop(sync);

            let bytes = workers
                .into_iter()
                .map(|worker| worker.join().map_err(panicked)?)
                .sum::<io::Result<u64>>()?;
            syncer.join().map_err(panicked)??;
            Ok(bytes)
        })
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder, destination, threads] = arguments.as_slice() else {
        return Err(io::Error::other("usage: copy FOLDER DESTINATION THREADS"));
    };
    let destination = PathBuf::from(destination);
    let threads: usize = threads.to_str().and_then(|text| text.parse().ok()).unwrap_or(1);

    let start = Instant::now();
    for index in 0..FOLDERS {
        fs::create_dir_all(destination.join(index.to_string()))?;
    }
    let mut files = Vec::new();
    walk(Path::new(folder), &mut files)?;
    let job = Job { files, destination, next: AtomicUsize::new(0), done: AtomicUsize::new(0) };
    let bytes = job.run(threads)?;
    let seconds = start.elapsed().as_secs_f64();

    println!("{} {bytes} {seconds:.6}", job.files.len());
    Ok(())
}
