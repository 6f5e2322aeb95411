//! Reads CBOR (RFC 8949) in the form that CTAP2 §8 prescribes and WebAuthn §2 demands: definite
//! lengths, shortest heads, no tags. The order of keys is not held against anybody, but no key may
//! come twice. Borrows from its input, and never goes deeper or on for longer than its limits.

/// The deepest nesting. CTAP2 needs 4, a compound attestation statement 5.
const DEPTH_MAX: u8 = 8;
/// The most items, keys and members included, that are passed over at once.
const ITEMS_MAX: u32 = 2048;
/// The most entries of one map.
const ENTRIES_MAX: u64 = 64;

/// The input is not CBOR of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid;

/// A place in the input.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// An integer or a text, which is all that a key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Int(i64),
    Text(&'a str),
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing is left.
    pub(crate) fn end(&self) -> Result<(), Invalid> {
        if self.rest.is_empty() { Ok(()) } else { Err(Invalid) }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Invalid> {
        let count = usize::try_from(count).map_err(|_| Invalid)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Invalid)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Major type and argument of the next item; the simple values have no argument here.
    fn head(&mut self) -> Result<(u8, u64), Invalid> {
        let first = *self.take(1)?.first().ok_or(Invalid)?;
        let (major, low) = (first >> 5, first & 0x1f);
        let bytes = match low {
            0..=23 => return Ok((major, u64::from(low))),
            24..=27 => self.take(1 << (low - 24))?,
            _ => return Err(Invalid),
        };
        let argument = bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        // A float's bits are no number whose head could be shorter.
        let least = [24, 1 << 8, 1 << 16, 1 << 32][usize::from(low - 24)];
        if major != SIMPLE && argument < least {
            return Err(Invalid);
        }
        if major == SIMPLE && low == 24 {
            return Err(Invalid);
        }
        Ok((major, argument))
    }

    fn head_of(&mut self, major: u8) -> Result<u64, Invalid> {
        match self.head()? {
            (found, argument) if found == major => Ok(argument),
            _ => Err(Invalid),
        }
    }

    /// A byte string.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Invalid> {
        let length = self.head_of(BYTES)?;
        self.take(length)
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Invalid> {
        match self.key()? {
            Key::Text(text) => Ok(text),
            Key::Int(_) => Err(Invalid),
        }
    }

    /// An integer.
    pub(crate) fn int(&mut self) -> Result<i64, Invalid> {
        match self.key()? {
            Key::Int(number) => Ok(number),
            Key::Text(_) => Err(Invalid),
        }
    }

    fn key(&mut self) -> Result<Key<'a>, Invalid> {
        let (major, argument) = self.head()?;
        let number = || i64::try_from(argument).map_err(|_| Invalid);
        Ok(match major {
            UNSIGNED => Key::Int(number()?),
            NEGATIVE => Key::Int(-1 - number()?),
            TEXT => Key::Text(std::str::from_utf8(self.take(argument)?).map_err(|_| Invalid)?),
            _ => return Err(Invalid),
        })
    }

    /// A map whose values are read by `value`, which must read exactly one item.
    pub(crate) fn map(
        &mut self,
        mut value: impl FnMut(Key<'a>, &mut Self) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let count = self.head_of(MAP)?;
        if count > ENTRIES_MAX {
            return Err(Invalid);
        }
        let mut seen = Vec::new();
        for _ in 0..count {
            let key = self.key()?;
            if seen.contains(&key) {
                return Err(Invalid);
            }
            seen.push(key);
            value(key, self)?;
        }
        Ok(())
    }

    /// Passes over one item, whatever it holds.
    pub(crate) fn skip(&mut self) -> Result<(), Invalid> {
        self.skip_within(DEPTH_MAX, &mut 0)
    }

    fn skip_within(&mut self, depth: u8, items: &mut u32) -> Result<(), Invalid> {
        *items += 1;
        if *items > ITEMS_MAX {
            return Err(Invalid);
        }
        let mut ahead = self.clone();
        match ahead.head()? {
            (UNSIGNED | NEGATIVE, _) => *self = ahead,
            (BYTES, _) => {
                self.bytes()?;
            }
            (TEXT, _) => {
                self.text()?;
            }
            (ARRAY, count) => {
                let inner = depth.checked_sub(1).ok_or(Invalid)?;
                *self = ahead;
                for _ in 0..count {
                    self.skip_within(inner, items)?;
                }
            }
            (MAP, _) => {
                let inner = depth.checked_sub(1).ok_or(Invalid)?;
                self.map(|_, reader| reader.skip_within(inner, items))?;
            }
            // false, true, null, undefined; floats.
            (SIMPLE, _) if matches!(self.rest.first(), Some(0xf4..=0xf7 | 0xf9..=0xfb)) => {
                *self = ahead;
            }
            _ => return Err(Invalid),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skips(input: &[u8]) -> bool {
        let mut reader = Reader::new(input);
        reader.skip().and_then(|()| reader.end()).is_ok()
    }

    #[test]
    fn numbers_have_one_spelling() {
        let numbers: [(&[u8], i64); 8] = [
            (&[0x00], 0),
            (&[0x17], 23),
            (&[0x18, 24], 24),
            (&[0x19, 1, 0], 256),
            (&[0x1a, 0, 1, 0, 0], 65_536),
            (&[0x20], -1),
            (&[0x26], -7),
            (&[0x39, 1, 0], -257),
        ];
        for (input, number) in numbers {
            assert_eq!(Reader::new(input).int(), Ok(number));
        }
        let longer: [&[u8]; 4] =
            [&[0x18, 23], &[0x19, 0, 255], &[0x1a, 0, 0, 255, 255], &[0x38, 6]];
        for input in longer {
            assert_eq!(Reader::new(input).int(), Err(Invalid), "{input:?}");
        }
        let too_large = [0x1b, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(Reader::new(&too_large).int(), Err(Invalid));
        assert!(skips(&too_large), "but it may be passed over");
    }

    #[test]
    fn what_is_passed_over_must_be_whole() {
        let good: [&[u8]; 6] = [
            &[0xa0],
            &[0xa1, 0x61, b'a', 0x82, 0x01, 0xf5],
            &[0xf6],
            &[0xf9, 0, 0],
            &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x42, 1, 2],
        ];
        assert!(good.into_iter().all(skips));
        let bad: [(&[u8], &str); 12] = [
            (&[], "nothing"),
            (&[0xa1, 0x61, b'a'], "a value is missing"),
            (&[0xa2, 1, 1, 1, 2], "a key comes twice"),
            (&[0xa1, 0x41, 1, 1], "bytes are no key here"),
            (&[0x61, 0xff], "no UTF-8"),
            (&[0x43, 1, 2], "cut off"),
            (&[0x5f, 0x41, 1, 0xff], "no definite length"),
            (&[0xc0, 0x60], "a tag"),
            (&[0xf8, 0xff], "a simple value that nobody knows"),
            (&[0xe0], "another one"),
            (&[0x9b, 255, 255, 255, 255, 255, 255, 255, 255], "a huge array"),
            (&[0x00, 0x00], "something behind it"),
        ];
        for (input, why) in bad {
            assert!(!skips(input), "{why}");
        }
    }

    #[test]
    fn depth_and_count_have_limits() {
        let nested = |depth| [vec![0x81; depth], vec![0x00]].concat();
        assert!(skips(&nested(usize::from(DEPTH_MAX))));
        assert!(!skips(&nested(usize::from(DEPTH_MAX) + 1)));
        let array = |count: u16| {
            [[&[0x99], &count.to_be_bytes()[..]].concat(), vec![0x00; usize::from(count)]].concat()
        };
        assert!(skips(&array(2047)));
        assert!(!skips(&array(2048)));
        let map = |count: u8| {
            let entries = (0..count).flat_map(|key| [0x19, 1, key, 0x00]);
            [vec![0xb8, count], entries.collect()].concat()
        };
        assert!(skips(&map(64)));
        assert!(!skips(&map(65)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&input);
            while reader.skip().is_ok() {}
            prop_assert!(input.ends_with(reader.rest()));
        }
    }
}
