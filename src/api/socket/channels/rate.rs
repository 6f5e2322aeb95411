//! How often one connection may say something: so often a second in the long run, and twice as
//! much at once (GCRA).

use std::time::{Duration, Instant};

/// Seconds of rest that may be spent at once.
const BURST: Duration = Duration::from_secs(2);

/// The rate of one connection.
pub(super) struct Rate {
    /// Between two of them; `None` for no limit.
    interval: Option<Duration>,
    /// When all that was said would have been said, at exactly this rate.
    said_by: Option<Instant>,
}

impl Rate {
    /// So many a second; 0 for no limit.
    pub(super) fn new(per_second: u32) -> Self {
        let interval = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        Self { interval, said_by: None }
    }

    /// Counts one; errors with how long to wait when it is one too many.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let next = self.said_by.map_or(now, |by| by.max(now)) + interval;
        match next.checked_duration_since(now + BURST) {
            Some(early) if !early.is_zero() => Err(early),
            _ => {
                self.said_by = Some(next);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (start, mut rate) = (Instant::now(), Rate::new(10));
        let taken = (0..100).filter(|_| rate.take(start).is_ok()).count();
        assert_eq!(taken, 20);
        assert_eq!(rate.take(start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| rate.take(later).is_ok()).count(), 10);
        let rested = start + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| rate.take(rested).is_ok()).count(), 20);
        let mut free = Rate::new(0);
        assert!((0..1000).all(|_| free.take(start).is_ok()));
    }
}
