//! `Retry-After`: how long a server asks to be left alone.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The shortest and the longest time that is believed.
const BELIEVED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Reads either form of the header. A date is taken against that of the answer itself, so that no clock has to agree.
pub(in crate::provider) fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let span = instant(text)?.duration_since(instant(date?)?);
            // A time that is over is no reason to wait.
            Duration::try_from(span).unwrap_or_default()
        }
    };
    Some(pause.clamp(BELIEVED.0, BELIEVED.1))
}

fn instant(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_within_limits() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |text, date| retry_after(text, date).map(|pause| pause.as_secs());
        for (text, date, expected) in [
            ("120", None, Some(120)),
            ("0", None, Some(1)),
            (" 99999999 ", None, Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", date, Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", date, Some(1)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
            ("soon", date, None),
            ("-1", date, None),
        ] {
            assert_eq!(seconds(text, date), expected, "{text}");
        }
    }
}
