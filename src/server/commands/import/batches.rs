//! Puts lines together into requests: as full as the limits allow, in order, and never cutting
//! what belongs together.

/// What one request may hold. A unit that alone is more goes alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) lines_max: usize,
    pub(super) bytes_max: usize,
}

/// Lines that belong together, ready to be sent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// Joined by the batch's separator.
    pub(super) body: Vec<u8>,
    /// Their numbers in the file.
    pub(super) lines: Vec<u64>,
}

impl Unit {
    /// Adds one more line.
    pub(super) fn push(&mut self, separator: u8, body: &[u8], line: u64) {
        if !self.lines.is_empty() {
            self.body.push(separator);
        }
        self.body.extend_from_slice(body);
        self.lines.push(line);
    }
}

/// Fills one batch after the other.
pub(super) struct Batches {
    limits: Limits,
    separator: u8,
    open: Unit,
}

impl Batches {
    pub(super) fn new(limits: Limits, separator: u8) -> Self {
        Self { limits, separator, open: Unit::default() }
    }

    /// Takes a unit; returns a batch that had no room for it.
    pub(super) fn push(&mut self, unit: Unit) -> Option<Unit> {
        let lines = self.open.lines.len() + unit.lines.len();
        let bytes = self.open.body.len() + 1 + unit.body.len();
        if self.open.lines.is_empty() {
            self.open = unit;
            return None;
        }
        if lines > self.limits.lines_max || bytes > self.limits.bytes_max {
            return Some(std::mem::replace(&mut self.open, unit));
        }
        self.open.body.push(self.separator);
        self.open.body.extend_from_slice(&unit.body);
        self.open.lines.extend_from_slice(&unit.lines);
        None
    }

    /// The last batch.
    pub(super) fn finish(self) -> Option<Unit> {
        (!self.open.lines.is_empty()).then_some(self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::{Batches, Limits, Unit};

    /// Units of so many lines, each line of so many bytes.
    fn batch(limits: Limits, units: &[(usize, usize)]) -> Vec<Unit> {
        let mut batches = Batches::new(limits, b'\n');
        let (mut all, mut line) = (Vec::new(), 0);
        for (lines, bytes) in units {
            let mut unit = Unit::default();
            for _ in 0..*lines {
                line += 1;
                unit.push(b'\n', &vec![b'x'; *bytes], line);
            }
            all.extend(batches.push(unit));
        }
        all.extend(batches.finish());
        all
    }

    fn sizes(batches: &[Unit]) -> Vec<usize> {
        batches.iter().map(|batch| batch.lines.len()).collect()
    }

    #[test]
    fn batches_fill_up_to_the_limit_of_lines() {
        let limits = Limits { lines_max: 3, bytes_max: 1000 };
        let all = batch(limits, &[(1, 1); 7]);
        assert_eq!(sizes(&all), [3, 3, 1]);
        assert_eq!(all[1], Unit { body: b"x\nx\nx".to_vec(), lines: vec![4, 5, 6] });
    }

    #[test]
    fn batches_fill_up_to_the_limit_of_bytes() {
        let limits = Limits { lines_max: 1000, bytes_max: 9 };
        let all = batch(limits, &[(1, 4), (1, 4), (1, 4)]);
        assert_eq!(sizes(&all), [2, 1]);
        assert!(all.iter().all(|batch| batch.body.len() <= 9));
    }

    #[test]
    fn what_belongs_together_is_never_split() {
        let limits = Limits { lines_max: 4, bytes_max: 10 };
        // 3 + 3 lines are too many; 2 lines of 20 bytes are too large and go alone.
        let all = batch(limits, &[(3, 1), (3, 1), (1, 1), (2, 20), (1, 1)]);
        assert_eq!(sizes(&all), [3, 4, 2, 1]);
    }

    #[test]
    fn every_line_comes_once_and_in_order() {
        for lines_max in 1..6 {
            for bytes_max in 1..20 {
                let units: Vec<_> = (0..40).map(|n| (1 + n % 3, 1 + n % 7)).collect();
                let all = batch(Limits { lines_max, bytes_max }, &units);
                let lines: Vec<u64> = all.iter().flat_map(|batch| batch.lines.clone()).collect();
                let total = units.iter().map(|(lines, _)| *lines as u64).sum();
                assert_eq!(lines, (1..=total).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn nothing_makes_no_batch() {
        assert!(batch(Limits { lines_max: 1, bytes_max: 1 }, &[]).is_empty());
    }
}
