//! Trying again: how often, after how long, and when not.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::Rng as _;

use super::client::failed;
use super::settings::Limits;
use super::{Event, Watch};
use crate::random::generator;
use crate::{Error, Result};

/// Failures for one request or file in all, however much each attempt gained: a server that sends a byte and hangs up does
/// not keep us for ever.
const MOST_FAILURES: u32 = 50;
/// How often a pause looks whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// Why an attempt failed.
pub(super) enum Fault {
    /// Another attempt may succeed.
    Passing {
        /// What happened.
        why: String,
        /// What the user can do once we give up.
        remedy: &'static str,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// No attempt will succeed.
    Lasting(Error),
}

impl Fault {
    pub(super) fn passing(why: String, remedy: &'static str) -> Self {
        Self::Passing { why, remedy, wait: None }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

/// The attempts at one request or file.
pub(super) struct Attempts<'a> {
    limits: Limits,
    url: &'a str,
    in_a_row: u32,
    failures: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(limits: Limits, url: &'a str) -> Self {
        Self { limits, url, in_a_row: 0, failures: 0 }
    }

    /// Pauses after a failure, or gives up; `gained` says whether the attempt brought us further.
    pub(super) fn failed(&mut self, fault: Fault, gained: bool, watch: &dyn Watch) -> Result<()> {
        let (why, remedy, wait) = match fault {
            Fault::Lasting(error) => return Err(error),
            Fault::Passing { why, remedy, wait } => (why, remedy, wait),
        };
        self.failures += 1;
        self.in_a_row = if gained { 1 } else { self.in_a_row + 1 };
        if self.in_a_row >= self.limits.attempts || self.failures >= MOST_FAILURES {
            return Err(failed(self.url, format!("{why}, in {} attempts", self.failures), remedy));
        }
        if let Some(wait) = wait.filter(|wait| *wait > self.limits.longest_pause) {
            let why = format!("{why}; the server asks to wait {} s", wait.as_secs());
            return Err(failed(self.url, why, remedy));
        }
        let pause = self.pause(wait);
        watch.event(Event::Waiting { why: &why, pause: Some(pause) });
        sleep(pause, watch)
    }

    /// Twice as long after each failure, shortened at random so that many clients do not come back at once; at least what
    /// the server asks for.
    fn pause(&self, wait: Option<Duration>) -> Duration {
        let doubled = self.limits.pause.saturating_mul(1 << (self.in_a_row - 1).min(16)).min(self.limits.longest_pause);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let mut random = generator(clock, "pause before another attempt", std::process::id().into());
        doubled.mul_f64(random.random_range(0.5..=1.0)).max(wait.unwrap_or_default())
    }
}

/// Sleeps, unless asked to stop.
pub(super) fn sleep(pause: Duration, watch: &dyn Watch) -> Result<()> {
    let end = Instant::now() + pause;
    loop {
        check(watch)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(TICK));
    }
}

/// Whether to go on.
pub(super) fn check(watch: &dyn Watch) -> Result<()> {
    if watch.cancelled() { Err(Error::HubCancelled) } else { Ok(()) }
}

/// The wait that a `Retry-After` header asks for: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = UNIX_EPOCH + Duration::from_secs(seconds_of_date(value)?);
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the one form of dates that servers may send.
fn seconds_of_date(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = date.split_once(", ")?.1.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let year: u64 = parts.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut time = parts.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let days = years + lengths[..month].iter().sum::<u64>() + day.checked_sub(1)?;
    (hour < 24 && minute < 60 && second <= 60).then_some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        // The date of RFC 9110; `date -u -d "1994-11-06 08:49:37" +%s` gives the number.
        assert_eq!(seconds_of_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for wrong in ["", "-1", "soon", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994"] {
            assert_eq!(retry_after(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pauses_double_and_heed_the_server() {
        let limits = Limits { pause: Duration::from_secs(1), longest_pause: Duration::from_secs(4), ..Limits::default() };
        let mut attempts = Attempts::new(limits, "u");
        for (in_a_row, most) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0), (60, 4.0)] {
            attempts.in_a_row = in_a_row;
            let seconds = attempts.pause(None).as_secs_f64();
            assert!((0.5 * most..=most).contains(&seconds), "{in_a_row}: {seconds}");
        }
        assert!(attempts.pause(Some(Duration::from_secs(9))) == Duration::from_secs(9));
    }

    #[test]
    fn failures_are_counted_in_a_row_and_in_all() {
        let limits = Limits { pause: Duration::ZERO, ..Limits::default() };
        let fault = || Fault::passing("broken".into(), "mend it");
        let until_given_up = |gained: bool| {
            let mut attempts = Attempts::new(limits, "http://h/x?secret");
            (1..).find_map(|count| attempts.failed(fault(), gained, &()).err().map(|error| (count, error.to_string()))).unwrap()
        };
        assert_eq!(until_given_up(false), (5, "http://h/x: broken, in 5 attempts; mend it".into()));
        assert_eq!(until_given_up(true).0, MOST_FAILURES);
    }
}
