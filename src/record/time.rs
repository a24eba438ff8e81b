//! Times of records: RFC 3339 as Go's `time.Time` writes and reads it in JSON (`store-format.md` 2).

use std::cmp::Ordering;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Timestamp;
use crate::{Error, ErrorKind, Result};

const DAY: i64 = 86_400;

/// The seconds that years 0 to 9999, the only ones of the format, can have.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl Timestamp {
    /// The present time, UTC.
    pub fn now() -> Self {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(d) => {
                Self::clamped(i64::try_from(d.as_secs()).unwrap_or(i64::MAX), d.subsec_nanos())
            }
            Err(_) => Self::clamped(0, 0),
        }
    }

    /// A time in seconds since 1970-01-01T00:00:00Z, UTC, as in `SOURCE_DATE_EPOCH`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] outside the years 0 to 9999.
    pub fn from_unix(seconds: i64) -> Result<Self> {
        if RANGE.contains(&seconds) {
            return Ok(Self { seconds, nanos: 0, offset: None });
        }
        Err(Error::new(ErrorKind::InvalidArgument, format!("taking {seconds} seconds for a time"))
            .detail("it is outside the years 0 to 9999"))
    }

    /// A time as it stands in a record: `2020-01-02T03:04:05.6+02:00`, `Z` for UTC. The offset is kept; digits beyond nanoseconds are
    /// dropped.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for anything else, a day that the month has not included.
    ///
    /// ```
    /// use orlop::record::Timestamp;
    /// let time = Timestamp::parse("2020-01-02T03:04:05.600+02:00")?;
    /// assert_eq!(time.to_string(), "2020-01-02T03:04:05.6+02:00");
    /// assert_eq!(time.unix_seconds(), 1577927045);
    /// # Ok::<(), orlop::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        parse(text.as_bytes()).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("reading the time {text:?}"))
                .hint("a time reads 2006-01-02T15:04:05.999999999Z, or with an offset such as +02:00 in place of the Z")
        })
    }

    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn unix_seconds(&self) -> i64 {
        self.seconds
    }

    /// The nanoseconds after [`Timestamp::unix_seconds`].
    pub fn subsec_nanos(&self) -> u32 {
        self.nanos
    }

    /// Whether it is Go's zero time, 0001-01-01T00:00:00Z, which stands for none.
    pub fn is_zero(&self) -> bool {
        let zero = Self::default();
        (self.seconds, self.nanos) == (zero.seconds, zero.nanos)
    }

    /// The same instant, written in UTC; unchanged if that is outside the years 0 to 9999.
    #[must_use]
    pub fn to_utc(self) -> Self {
        if RANGE.contains(&self.seconds) { Self { offset: None, ..self } } else { self }
    }

    fn clamped(seconds: i64, nanos: u32) -> Self {
        Self { seconds: seconds.clamp(*RANGE.start(), *RANGE.end()), nanos, offset: None }
    }
}

/// By instant; the offset only tells equal instants apart.
impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanos, self.offset).cmp(&(other.seconds, other.nanos, other.offset))
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset.unwrap_or(0);
        let local = self.seconds.saturating_add(i64::from(offset) * 60);
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", second % 60)?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        if offset == 0 {
            return f.write_str("Z");
        }
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let mut rest = text;
    let mut number =
        |digits: usize, range: std::ops::RangeInclusive<i64>, end: &[u8]| -> Option<i64> {
            let (number, tail) = rest.split_at_checked(digits)?;
            rest = tail.strip_prefix(end)?;
            decimal(number).filter(|n| range.contains(n))
        };
    let year = number(4, 0..=9999, b"-")?;
    let month = number(2, 1..=12, b"-")?;
    let day = number(2, 1..=days_in_month(year, month), b"T")?;
    // Go's reader is laxer than the format: an hour of one digit, a comma before the fraction, offsets to +24:60.
    let hour_digits = if text.get(12) == Some(&b':') { 1 } else { 2 };
    let hour = number(hour_digits, 0..=23, b":")?;
    let minute = number(2, 0..=59, b":")?;
    let second = number(2, 0..=59, b"")?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix(b".").or(rest.strip_prefix(b",")) {
        let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, tail) = fraction.split_at_checked(length).filter(|(d, _)| !d.is_empty())?;
        let kept = digits.get(..9).unwrap_or(digits);
        let missing = u32::try_from(9 - kept.len()).ok()?;
        nanos = u32::try_from(decimal(kept)? * 10_i64.pow(missing)).ok()?;
        rest = tail;
    }
    let offset = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = decimal(&[*h1, *h2]).filter(|h| *h <= 24)?;
            let minutes = decimal(&[*m1, *m2]).filter(|m| *m <= 60)?;
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let local = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    // What Go could not write again is refused.
    let offset_minutes = i16::try_from(offset).ok().filter(|o| o.abs() < 24 * 60)?;
    let offset_minutes = Some(offset_minutes).filter(|o| *o != 0);
    Some(Timestamp { seconds: local - offset * 60, nanos, offset: offset_minutes })
}

fn decimal(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years are counted from March, so that the leap day is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let civil_month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(civil_month <= 2), civil_month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(text: &str) {
        assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn forms_of_the_format() {
        same("0001-01-01T00:00:00Z");
        same("2020-01-02T03:04:05.6+02:00");
        same("1969-12-31T23:59:59.999999999-11:30");
        same("2000-02-29T00:00:00.000000001Z");
        same("9999-12-31T23:59:59Z");
        same("0000-01-01T00:00:00Z");
        same("2026-11-21T07:02:46.410142566Z");
        assert_eq!(Timestamp::default().to_string(), "0001-01-01T00:00:00Z");
        assert!(Timestamp::parse("0001-01-01T00:00:00Z").unwrap().is_zero());
    }

    #[test]
    fn equal_forms_are_written_alike() {
        let of = |t: &str| Timestamp::parse(t).unwrap().to_string();
        assert_eq!(of("2020-01-02T03:04:05.000+00:00"), "2020-01-02T03:04:05Z");
        assert_eq!(of("2020-01-02T03:04:05-00:00"), "2020-01-02T03:04:05Z");
        assert_eq!(of("2020-01-02T03:04:05.1234567899Z"), "2020-01-02T03:04:05.123456789Z");
        assert_eq!(of("2020-01-02T3:04:05,50+02:60"), "2020-01-02T03:04:05.5+03:00");
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for bad in [
            "",
            "2020-01-02",
            "2020-01-02 03:04:05Z",
            "2020-01-02t03:04:05Z",
            "2020-01-02T03:04:05z",
            "2020-01-02T03:04:05",
            "2020-02-30T03:04:05Z",
            "1900-02-29T00:00:00Z",
            "2020-13-01T00:00:00Z",
            "2020-00-01T00:00:00Z",
            "2020-01-00T00:00:00Z",
            "2020-01-02T24:00:00Z",
            "2020-01-02T03:60:05Z",
            "2020-01-02T03:04:60Z",
            "2020-01-02T03:04:05.Z",
            "2020-01-02T03:04:05+24:00",
            "2020-01-02T03:04:05+0200",
            "2020-01-02T03:04:05+23:60",
            "2020-01-02T03:04:05+02:61",
            "12020-01-02T03:04:05Z",
            "2020-01-02T:04:05Z",
            "2020-01-02T003:04:05Z",
            "2020-01-02T03:04:05Zx",
            "-020-01-02T03:04:05Z",
            "+020-01-02T03:04:05Z",
        ] {
            assert_eq!(
                Timestamp::parse(bad).unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn order_and_clock() {
        let of = |t: &str| Timestamp::parse(t).unwrap();
        assert!(of("2020-01-02T03:04:05+02:00") < of("2020-01-02T02:04:05Z"));
        assert!(of("2020-01-02T03:04:05.1Z") > of("2020-01-02T03:04:05Z"));
        assert_eq!(of("2020-01-02T03:04:05+02:00").to_utc(), of("2020-01-02T01:04:05Z"));
        assert_eq!(Timestamp::from_unix(0).unwrap().to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::from_unix(1_700_000_000).unwrap().to_string(),
            "2023-11-14T22:13:20Z"
        );
        assert!(Timestamp::from_unix(i64::MAX).is_err());
        assert!(Timestamp::now() > of("2024-01-01T00:00:00Z"));
        same(&Timestamp::now().to_string());
    }

    #[test]
    fn every_day_of_eight_centuries_survives() {
        for day in -146_097 - 10_957..146_097 {
            let time = Timestamp::from_unix(day * DAY + 1).unwrap();
            assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
        }
    }
}
