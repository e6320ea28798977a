//! Rules for keys, suffixes and accessors.

/// The longest key in bytes, including the prefix of the storage, as on S3.
pub const MAX_KEY: usize = 1024;

/// The folder of inhaul in every storage.
pub const OWN_FOLDER: &str = ".inhaul";

/// Suffixes that are part of a composite suffix.
const COMPRESSED: [&str; 5] = [".gz", ".bz2", ".xz", ".zst", ".zip"];

/// Suffixes of files that are commonly compressed.
const COMPRESSIBLE: [&str; 17] = [
    ".csv", ".tsv", ".parquet", ".ipc", ".feather", ".txt", ".json", ".jsonl", ".fastq", ".fq", ".fasta",
    ".fa", ".vcf", ".bed", ".gtf", ".sam", ".tar",
];

/// Other suffixes of two parts.
const COMPOSITES: [&str; 9] = [
    ".anndata.zarr",
    ".mudata.zarr",
    ".spatialdata.zarr",
    ".ome.zarr",
    ".ome.tif",
    ".ome.tiff",
    ".zarr.zip",
    ".gff.gz",
    ".mtx.gz",
];

const MAX_ENDING: usize = 16;

/// The canonical suffix of a file name, in lower case; empty if it has none.
#[must_use]
pub fn suffix(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    // A leading dot makes a hidden file, not a suffix.
    let stem_end = name.bytes().take_while(|&byte| byte == b'.').count();
    let Some(last) = name[stem_end..].rfind('.').map(|dot| dot + stem_end) else {
        return String::new();
    };
    let ending = &name[last..];
    if let Some(before) = name[stem_end..last].rfind('.').map(|dot| dot + stem_end) {
        let (first, both) = (&name[before..last], &name[before..]);
        let composite =
            COMPOSITES.contains(&both) || (COMPRESSED.contains(&ending) && COMPRESSIBLE.contains(&first));
        if composite {
            return both.to_owned();
        }
    }
    let characters = &ending.as_bytes()[1..];
    let known = (1..=MAX_ENDING).contains(&characters.len())
        && characters.iter().all(u8::is_ascii_alphanumeric)
        && !characters.iter().all(u8::is_ascii_digit);
    if known { ending.to_owned() } else { String::new() }
}

/// The accessor of files with this suffix, as far as the suffix determines it.
#[must_use]
pub fn accessor(suffix: &str) -> Option<&'static str> {
    match suffix.strip_suffix(".gz").unwrap_or(suffix) {
        ".csv" | ".tsv" | ".parquet" | ".ipc" | ".feather" => Some("DataFrame"),
        _ => match suffix {
            ".h5ad" | ".zrad" | ".anndata.zarr" => Some("AnnData"),
            ".h5mu" => Some("MuData"),
            _ => None,
        },
    }
}

/// The problem of a key; None if it is valid.
#[must_use]
pub fn key_problem(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("it is empty");
    }
    if key.len() > MAX_KEY {
        return Some("it is longer than 1,024 bytes");
    }
    if key.starts_with('/') {
        return Some("it is absolute");
    }
    if key.contains('\0') {
        return Some("it holds a NUL character");
    }
    if key.contains('\\') {
        return Some("it holds a backslash");
    }
    if key.split('/').any(str::is_empty) {
        return Some("it has an empty segment");
    }
    if key.split('/').any(|segment| segment == "." || segment == "..") {
        return Some("it has a segment \".\" or \"..\"");
    }
    if key.split('/').any(|segment| segment == OWN_FOLDER) {
        return Some("it has a segment \".inhaul\", inhaul's own folder");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes() {
        for (name, expected) in [
            ("a.csv", ".csv"),
            ("A.CSV", ".csv"),
            ("a.csv.gz", ".csv.gz"),
            ("a.fastq.gz", ".fastq.gz"),
            ("a.feather.gz", ".feather.gz"),
            ("a.anndata.zarr", ".anndata.zarr"),
            ("a.ome.tif", ".ome.tif"),
            ("x.foo.gz", ".gz"),
            ("folder.d/a", ""),
            (".hidden", ""),
            (".hidden.txt", ".txt"),
            ("..a", ""),
            (".csv.gz", ".gz"),
            ("a.", ""),
            ("a.123", ""),
            ("a.1a", ".1a"),
            ("a.b c", ""),
            ("a.abcdefghijklmnop", ".abcdefghijklmnop"),
            ("a.abcdefghijklmnopq", ""),
            ("a.é", ""),
            ("", ""),
        ] {
            assert_eq!(suffix(name), expected, "{name}");
        }
    }

    #[test]
    fn accessors() {
        for (suffix, expected) in [
            (".csv", Some("DataFrame")),
            (".csv.gz", Some("DataFrame")),
            (".feather", Some("DataFrame")),
            (".h5ad", Some("AnnData")),
            (".zrad", Some("AnnData")),
            (".anndata.zarr", Some("AnnData")),
            (".zarr", None),
            (".h5mu", Some("MuData")),
            (".gz", None),
            ("", None),
        ] {
            assert_eq!(accessor(suffix), expected, "{suffix}");
        }
    }

    #[test]
    fn keys() {
        for key in ["a", "a/b.csv", "a..b", ".inhaulignore", "a/.inhaul.csv", "with space\n", "é"] {
            assert_eq!(key_problem(key), None, "{key}");
        }
        let long = "é".repeat(513);
        for key in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "a/..",
            "../a",
            "a\0",
            "a\\b",
            ".inhaul",
            ".inhaul/x",
            "a/.inhaul/b",
            &long,
        ] {
            assert!(key_problem(key).is_some(), "{key}");
        }
    }
}
