//! Regular expressions for `matches`: compiled once, bounded in size, and weighed, for a match
//! takes time by the size of the program times the length of the text.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};

/// Bytes of a pattern at most.
const PATTERN_BYTES_MAX: usize = 1_000;
/// Bytes of memory for a program, and the steps that 64 bytes of text then cost. The smallest
/// that fits is taken. The steps are such that the worst patterns, which the engine simulates
/// state by state, take some 50 ms for all the steps of a question.
const SIZES: [(usize, u32); 4] =
    [(4 << 10, 32), (16 << 10, 128), (64 << 10, 512), (512 << 10, 4_096)];
/// Bytes that a pattern may take while it runs, for states it has seen.
const CACHE_BYTES_MAX: usize = 256 << 10;
/// How many of the sizes there are for patterns that a rule computes.
const SIZES_COMPUTED: usize = 3;
/// Computed patterns that are kept for one set of rules.
const KEPT_MAX: usize = 16;

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    weight: u32,
    bytes_max: usize,
}

impl Pattern {
    /// Compiles a pattern that stands in a rule; fails with what is wrong with it.
    pub(crate) fn literal(pattern: &str) -> Result<Self, String> {
        compile(pattern, &SIZES)
    }

    /// Whether the pattern is found anywhere in `text`.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What the program takes in memory at most, in bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What a match of so many bytes costs, in steps.
    pub(crate) fn steps(&self, bytes: usize) -> u32 {
        let steps = (bytes as u64).saturating_mul(self.weight.into()) / 64;
        u32::try_from(steps).unwrap_or(u32::MAX).saturating_add(1)
    }
}

fn compile(pattern: &str, sizes: &[(usize, u32)]) -> Result<Pattern, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("has {} bytes, the limit is {PATTERN_BYTES_MAX}", pattern.len()));
    }
    let mut failed = String::new();
    for &(bytes_max, weight) in sizes {
        let regex = RegexBuilder::new(pattern)
            .size_limit(bytes_max)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .nest_limit(50)
            .build();
        match regex {
            Ok(regex) => return Ok(Pattern { regex, weight, bytes_max }),
            Err(regex::Error::CompiledTooBig(_)) => failed = "is too large a program".to_owned(),
            Err(error) => return Err(last_line(&error.to_string())),
        }
    }
    Err(failed)
}

/// The parser's message without its drawing of the pattern.
fn last_line(message: &str) -> String {
    let line = message.lines().next_back().unwrap_or(message);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Patterns that rules computed, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<VecDeque<(Box<str>, Arc<Pattern>)>>);

impl Kept {
    /// The pattern if it is kept.
    pub(crate) fn find(&self, pattern: &str) -> Option<Arc<Pattern>> {
        let kept = self.0.lock();
        kept.iter().find(|(text, _)| **text == *pattern).map(|(_, regex)| Arc::clone(regex))
    }

    /// Compiles a pattern and keeps it in place of the oldest.
    pub(crate) fn compile(&self, pattern: &str) -> Result<Arc<Pattern>, String> {
        let sizes = SIZES.get(..SIZES_COMPUTED).unwrap_or(&SIZES);
        let compiled = Arc::new(compile(pattern, sizes)?);
        let mut kept = self.0.lock();
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((pattern.into(), Arc::clone(&compiled)));
        Ok(compiled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_weighed_and_bounded() {
        let small = Pattern::literal("^[a-z]+$").unwrap();
        let large = Pattern::literal(r"^\w+@\w+\.\w+$").unwrap();
        assert!(small.is_match("abc") && !small.is_match("a1"));
        assert!(large.is_match("ä@b.c"));
        assert!(small.steps(1_000) < large.steps(1_000));
        assert_eq!(Pattern::literal("(").unwrap_err(), "unclosed group");
        assert_eq!(Pattern::literal("a{1000}{1000}").unwrap_err(), "is too large a program");
        assert!(Pattern::literal(&"a".repeat(1_001)).is_err());
        assert!(Pattern::literal(&"(".repeat(1_000)).is_err());
        assert!(Pattern::literal(r"(a)\1").is_err(), "nothing that could need backtracking");
    }

    #[test]
    fn computed_patterns_are_kept_and_dropped() {
        let kept = Kept::default();
        for n in 0..40 {
            let pattern = format!("^{n}$");
            assert!(kept.find(&pattern).is_none());
            assert!(kept.compile(&pattern).unwrap().is_match(&n.to_string()));
            assert!(kept.find(&pattern).is_some());
        }
        assert!(kept.find("^0$").is_none());
        assert_eq!(kept.0.lock().len(), KEPT_MAX);
        assert!(kept.compile(r"\w{100}").is_err());
    }
}
