//! Lines of a file with their numbers.
//! Blank ones are passed over, endless ones refused.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, ensure};

/// The longest event there can be: two documents of the largest size and their frame, escaped.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Reads line by line.
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

/// One line that has something in it.
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    /// Counted from 1.
    pub(super) number: u64,
}

impl Lines<BufReader<File>> {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(Self::new(BufReader::with_capacity(1 << 16, file)))
    }
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), number: 0, bytes: 0 }
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
            let read = read.context("reading")? as u64;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += read;
            ensure!(read < LINE_BYTES_MAX, "line {} has no end", self.number);
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let number = self.number;
        let text = std::str::from_utf8(self.line.trim_ascii());
        let text = text.with_context(|| format!("line {number}: not UTF-8"))?;
        Ok(Some(Line { text, number }))
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn blank_lines_count_but_do_not_come() {
        let mut lines = Lines::new(b"a\n\n \r\nb\r\nc".as_slice());
        let mut seen = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            seen.push((line.number, line.text.to_owned()));
        }
        assert_eq!(seen, [(1, "a".to_owned()), (4, "b".to_owned()), (5, "c".to_owned())]);
        assert_eq!(lines.bytes(), 10);
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut lines = Lines::new(std::io::BufReader::new(std::io::repeat(b'x')));
        assert!(lines.next().is_err());
    }
}
