//! Numbers, strings and times as tar headers and PAX records spell them, accepted as Go accepts them.

use crate::member::Time;

const BAD: &str = "a numeric field is not a number";

/// The bytes before the first NUL, or all.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or(field)
}

/// A field in octal, or, with its first bit set, in base 256 (two's complement, big-endian).
pub(crate) fn field(field: &[u8]) -> Result<i64, &'static str> {
    let Some(first) = field.first().filter(|b| *b & 0x80 != 0) else {
        return octal(field);
    };
    let negative = first & 0x40 != 0;
    let mut value = 0u64;
    for (i, &byte) in field.iter().enumerate() {
        let mut byte = if negative { !byte } else { byte };
        if i == 0 {
            byte &= 0x7f; // the bit that marks base 256
        }
        if value >> 56 != 0 {
            return Err("a base-256 field does not fit 64 bits");
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| "a base-256 field does not fit 64 bits")?;
    Ok(if negative { !value } else { value })
}

/// A field in octal, between any spaces and NULs; an empty one is 0.
pub(crate) fn octal(field: &[u8]) -> Result<i64, &'static str> {
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let Some(start) = field.iter().position(|b| !blank(b)) else { return Ok(0) };
    let end = field.iter().rposition(|b| !blank(b)).map_or(field.len(), |last| last + 1);
    let digits = text(field.get(start..end).unwrap_or_default());
    let mut value = 0i64;
    for &digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return Err(BAD);
        }
        value = value
            .checked_mul(8)
            .and_then(|v| v.checked_add(i64::from(digit - b'0')))
            .ok_or("an octal field does not fit 64 bits")?;
    }
    Ok(value)
}

/// A decimal number with an optional sign.
pub(crate) fn decimal(value: &[u8]) -> Result<i64, &'static str> {
    std::str::from_utf8(value).ok().and_then(|s| s.parse().ok()).ok_or(BAD)
}

/// A PAX time: seconds, possibly negative, and a fraction of which nine digits count.
///
/// The fraction of a negative time counts towards the past: `-1.25` is 1.25 s before 1970.
pub(crate) fn time(value: &[u8]) -> Result<Time, &'static str> {
    let mut parts = value.splitn(2, |&b| b == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next().unwrap_or_default();
    let seconds = decimal(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0u32, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    if nanos == 0 || !whole.starts_with(b"-") {
        return Ok(Time { seconds, nanos });
    }
    let seconds = seconds.checked_sub(1).ok_or("a time does not fit 64 bits")?;
    Ok(Time { seconds, nanos: 1_000_000_000 - nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_tolerate_what_writers_pad_with() {
        for (bytes, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0 7\0\0\0\0", 7),
            (b"12\0junk\0", 0o12),
            (b"", 0),
            (b" \0 \0", 0),
            (b"777777777777", 0o777_777_777_777),
        ] {
            assert_eq!(field(bytes), Ok(value), "{:?}", bytes.escape_ascii().to_string());
        }
        for bytes in [&b"0000648\0"[..], b"-1\0", b"1 2\0", b"0x1\0", b"+7", b"12 \x003"] {
            assert!(field(bytes).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn base_256_fields_may_be_negative_and_must_fit() {
        assert_eq!(field(b"\x80\0\0\0\x01\0\0\0\0\0\0\0"), Ok(1 << 56));
        assert_eq!(field(&[0xff; 12]), Ok(-1));
        assert_eq!(field(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Ok(-2));
        assert_eq!(field(b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"), Ok(i64::MIN));
        assert!(field(b"\x80\0\0\0\x80\0\0\0\0\0\0\0").is_err());
        assert!(field(b"\x80\x01\0\0\0\0\0\0\0\0\0\0").is_err());
    }

    #[test]
    fn pax_times_have_nanoseconds_also_before_1970() {
        let at = |seconds, nanos| Ok(Time { seconds, nanos });
        assert_eq!(time(b"1350244992.023960108"), at(1_350_244_992, 23_960_108));
        assert_eq!(time(b"1.5"), at(1, 500_000_000));
        assert_eq!(time(b"1.1234567899"), at(1, 123_456_789));
        assert_eq!(time(b"-1.25"), at(-2, 750_000_000));
        assert_eq!(time(b"-0.5"), at(-1, 500_000_000));
        assert_eq!(time(b"-3"), at(-3, 0));
        assert_eq!(time(b"-3.0"), at(-3, 0));
        assert_eq!(time(b"7."), at(7, 0));
        for bad in [&b""[..], b".5", b"1.x", b"1.-5", b"a", b"1.2.3", b"-9223372036854775808.5"] {
            assert!(time(bad).is_err(), "{:?}", bad.escape_ascii().to_string());
        }
    }
}
