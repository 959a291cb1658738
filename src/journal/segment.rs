//! One file of the journal: its name, its preface, and records behind each other.
//!
//! A segment is written by the router and made safe by the syncer. Each run begins one of its own,
//! and a full one is followed by the next.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::record::{self, Kind};
use crate::access::Role;
use crate::event::stored::Lexicon;
use crate::event::{Epoch, EventType, Run, Runs};

/// The version of everything in the folder, counted up when an older shopwire could not read it.
pub const FORMAT: u32 = 1;

/// What a file of the journal is, and what its numbers stand for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Preface {
    /// [`FORMAT`] of the writer.
    format: u32,
    /// Who wrote it, for people.
    program: String,
    /// What keys are hashed with, two numbers in hex.
    secret: [String; 2],
    /// The known runs, oldest first, the writer's last: epoch in hex, number of the first event.
    runs: Vec<(String, u64)>,
    /// The number of the first event that comes in this file or a later one; 0 in a file of keys.
    next: u64,
    /// Event types, in the order of their numbers.
    types: Vec<String>,
    /// Roles, in the order of their bits.
    roles: Vec<String>,
}

impl Preface {
    /// The preface of what this run writes.
    pub fn new(secret: (u64, u64), runs: &Runs) -> Preface {
        let run = |run: Run| (run.epoch.to_string(), run.first);
        Preface {
            format: FORMAT,
            program: concat!("shopwire ", env!("CARGO_PKG_VERSION")).to_owned(),
            secret: [format!("{:x}", secret.0), format!("{:x}", secret.1)],
            runs: runs.all().map(run).collect(),
            next: 0,
            types: EventType::ALL.map(|kind| kind.name().to_owned()).to_vec(),
            roles: Role::ALL.map(|role| role.name().to_owned()).to_vec(),
        }
    }

    /// What keys are hashed with.
    pub fn secret(&self) -> Option<(u64, u64)> {
        let [first, second] = self
            .secret
            .each_ref()
            .map(|text| u64::from_str_radix(text, 16));
        Some((first.ok()?, second.ok()?))
    }

    /// The preface of a file in which the event with this number may be the first.
    pub fn before(&self, next: u64) -> Preface {
        Preface {
            next,
            ..self.clone()
        }
    }

    /// The number of the first event that comes in this file or a later one.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The runs that it knows.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().filter_map(|(epoch, first)| {
            let epoch = Epoch(u64::from_str_radix(epoch, 16).ok()?);
            (*first > 0).then_some(Run {
                epoch,
                first: *first,
            })
        })
    }

    /// What its numbers stand for.
    pub fn lexicon(&self) -> Lexicon {
        Lexicon::of(
            self.types.iter().map(String::as_str),
            self.roles.iter().map(String::as_str),
        )
    }

    /// As a whole record.
    pub fn record(&self) -> Vec<u8> {
        let body = serde_json::to_vec(self).expect("a preface is texts and numbers");
        let head = record::head(Kind::Preface, &[IoSlice::new(&body)])
            .expect("a preface is far shorter than a record may be");
        [&head[..], &body].concat()
    }
}

/// A file that records are being appended to.
pub struct Segment {
    /// The open file.
    pub file: Arc<File>,
    /// Its path.
    pub path: PathBuf,
    /// Bytes of whole records in it.
    pub len: u64,
    /// What follows them may be no record: nothing more may be appended.
    pub is_torn: bool,
}

impl Segment {
    /// Makes a new file with the given preface.
    pub fn create(path: PathBuf, preface: &[u8], disk: &dyn Disk) -> io::Result<Segment> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let mut segment = Segment {
            file: Arc::new(file),
            path,
            len: 0,
            is_torn: false,
        };
        match segment.append(&mut [IoSlice::new(preface)], disk) {
            Ok(()) => Ok(segment),
            Err(error) => {
                // One that says nothing is worth nothing.
                std::fs::remove_file(&segment.path)?;
                Err(error)
            }
        }
    }

    /// Appends whole records, all of them or none.
    ///
    /// # Errors
    /// What the file system says.
    pub fn append(&mut self, mut records: &mut [IoSlice<'_>], disk: &dyn Disk) -> io::Result<()> {
        let mut written = 0;
        while !records.is_empty() {
            match disk.write(&self.file, records) {
                Ok(0) => return self.take_back(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    written += count as u64;
                    IoSlice::advance_slices(&mut records, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.take_back(error),
            }
        }
        self.len += written;
        Ok(())
    }

    fn take_back(&mut self, error: io::Error) -> io::Result<()> {
        if let Err(second) = self.file.set_len(self.len) {
            log::warn!("{} could not be cut back: {second}", self.path.display());
            self.is_torn = true;
        }
        Err(error)
    }
}

/// Events, and the keys they came with.
pub const EVENTS: &str = "events";
/// Keys of events that are kept no more.
pub const KEYS: &str = "keys";

/// The path of the file with this number.
pub fn path_of(folder: &Path, number: u64, extension: &str) -> PathBuf {
    folder.join(format!("{number:016}.{extension}"))
}

/// The number in a file's name, if it is one of these.
pub fn number_of(path: &Path, extension: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let number = digits.parse().ok()?;
    (format!("{number:016}") == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::journal::{Job, Synced};

    /// A disk that is written to, and nothing else.
    struct Written;

    impl Disk for Written {
        fn write(&self, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
            file.write_vectored(parts)
        }

        fn ask(&self, _: Job) {
            unreachable!("a segment is only written")
        }

        fn try_take(&self) -> Option<Synced> {
            None
        }

        fn has_answer(&self) -> bool {
            false
        }
    }

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        let folder = Path::new("/j");
        let path = path_of(folder, 7, EVENTS);
        assert_eq!(path, Path::new("/j/0000000000000007.events"));
        assert_eq!(number_of(&path, EVENTS), Some(7));
        assert_eq!(number_of(&path, KEYS), None);
        for other in ["7.events", "+000000000000007.events", ".events", "lock"] {
            assert_eq!(number_of(&folder.join(other), EVENTS), None, "{other}");
        }
    }

    #[test]
    fn a_write_that_fails_leaves_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_of(folder.path(), 1, EVENTS);
        let mut segment = Segment::create(path, b"preface", &Written).unwrap();
        let append = |segment: &mut Segment, text: &str| {
            segment.append(&mut [IoSlice::new(text.as_bytes())], &Written)
        };
        append(&mut segment, "one").unwrap();
        append(&mut segment, "two").unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let whole = std::mem::replace(&mut segment.file, Arc::new(full));
        let error = append(&mut segment, "three").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(segment.len, 13);
        assert!(segment.is_torn, "/dev/full cannot be cut");
        segment.file = whole;
        append(&mut segment, "four").unwrap();
        let text = std::fs::read(&segment.path).unwrap();
        assert_eq!(text, b"prefaceonetwofour");
    }

    #[test]
    fn a_preface_reads_back() {
        let run = |epoch, first| Run {
            epoch: Epoch(epoch),
            first,
        };
        let runs = Runs::new(vec![run(0xa, 1)], run(0xb, 9));
        let record = Preface::new((1, u64::MAX), &runs).record();
        let read: Preface = serde_json::from_slice(&record[record::HEAD..]).unwrap();
        assert_eq!(read.secret(), Some((1, u64::MAX)));
        assert_eq!(read.runs().collect::<Vec<_>>(), [run(0xa, 1), run(0xb, 9)]);
        assert_eq!(read.lexicon(), Preface::new((1, 1), &runs).lexicon());
    }
}
