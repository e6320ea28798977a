//! Plain readers for file systems that answer slowly: `readers FOLDER THREADS` walks a folder with one thread, then opens,
//! reads and closes its files with many, hashes nothing, and prints `files bytes seconds`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const BUFFER: usize = 1 << 20;

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn read(files: &[PathBuf], next: &AtomicUsize) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => bytes += n as u64,
            }
        }
    }
    Ok(bytes)
}

fn main() -> io::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder, threads] = arguments.as_slice() else {
        return Err(io::Error::other("usage: readers FOLDER THREADS"));
    };
    let threads: usize = threads.to_str().and_then(|text| text.parse().ok()).unwrap_or(1);

    let start = Instant::now();
    let mut files = Vec::new();
    walk(Path::new(folder), &mut files)?;
    let next = AtomicUsize::new(0);
    let bytes = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(|| read(&files, &next))).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().map_err(|_| io::Error::other("a thread panicked"))?)
            .sum::<io::Result<u64>>()
    })?;
    println!("{} {bytes} {:.6}", files.len(), start.elapsed().as_secs_f64());
    Ok(())
}
