//! Secrets from the system's generator. They are never replayed, so no handle is passed for them.

/// `N` random bytes.
///
/// # Panics
/// When the system has none to give: nothing that is secret can be made then, and a token made
/// without would be worse than none.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A number below `end` (at least 1), each as likely as any other.
pub(crate) fn below(end: u32) -> u32 {
    // What is left of the range after the last whole multiple would make small numbers likelier.
    let whole = u64::from(u32::MAX) + 1;
    let fair = whole - whole % u64::from(end);
    loop {
        let number = u32::from_le_bytes(bytes());
        if u64::from(number) < fair {
            return number % end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_and_reach_every_value() {
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[below(7) as usize] += 1;
        }
        // Far off the expected 1,000 only once in many billions of runs.
        assert!(seen.iter().all(|count| (700..1_300).contains(count)), "{seen:?}");
        assert_eq!(below(1), 0);
    }
}
