//! Progress bars, on standard error so that they never mix with what a command writes.
//! Where standard error is no terminal there is none.

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

const BYTES: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}";
const COUNT: &str = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
const OPEN: &str = "{msg} {spinner} {human_pos} {per_sec}";

/// A bar over so many bytes.
pub(super) fn bytes(message: &'static str, total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), BYTES, message)
}

/// A bar over so many things.
pub(super) fn count(message: &'static str, total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), COUNT, message)
}

/// A count whose end is not known.
pub(super) fn open(message: &'static str) -> ProgressBar {
    styled(ProgressBar::new_spinner(), OPEN, message)
}

fn styled(bar: ProgressBar, template: &str, message: &'static str) -> ProgressBar {
    // The templates are constants; should one be bad, the default is as good.
    let style = ProgressStyle::with_template(template);
    let bar = bar.with_message(message);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

/// Ends a bar and says what was done, how long it took and how fast it was.
pub(super) fn done(bar: &ProgressBar, count: u64, what: &str) {
    bar.finish_and_clear();
    let seconds = bar.elapsed().as_secs_f64().max(0.001);
    let rate = (count as f64 / seconds) as u64;
    let (count, time) = (HumanCount(count), HumanDuration(bar.elapsed()));
    eprintln!("{count} {what} in {time} ({}/s)", HumanCount(rate));
}
