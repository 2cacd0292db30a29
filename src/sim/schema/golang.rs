//! What Go's standard library makes of times and base64, and how it words what is wrong with them.

/// Reads an RFC 3339 time; the layout's name in the error is `layout`.
pub(super) fn time(text: &str, layout: &str) -> Result<jiff::Timestamp, String> {
    let fail = |rest: &str, element: &str| {
        Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"))
    };
    let out_of_range = |what: &str| Err(format!("parsing time {text:?}: {what} out of range"));
    let mut rest = text;
    let mut numbers = [0_i64; 6];
    let elements = [("2006", 4), ("01", 2), ("02", 2), ("15", 2), ("04", 2), ("05", 2)];
    let separators = ["-", "-", "T", ":", ":", ""];
    for (at, (element, digits)) in elements.into_iter().enumerate() {
        let Some(number) = rest.get(..digits).filter(|n| n.bytes().all(|b| b.is_ascii_digit())) else {
            return fail(rest, element);
        };
        numbers[at] = number.parse().unwrap_or_default();
        let limits = [(0, 9999), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59)][at];
        if numbers[at] < limits.0 || numbers[at] > limits.1 {
            return out_of_range(["year", "month", "day", "hour", "minute", "second"][at]);
        }
        rest = &rest[digits..];
        match rest.strip_prefix(separators[at]) {
            Some(after) => rest = after,
            None => return fail(rest, separators[at]),
        }
    }
    let mut nanoseconds = 0_i64;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return fail(rest, "Z07:00");
        }
        let padded: String = fraction[..digits].chars().chain("000000000".chars()).take(9).collect();
        nanoseconds = padded.parse().unwrap_or_default();
        rest = &fraction[digits..];
    }
    let offset = match rest.as_bytes() {
        [b'Z'] => 0,
        [b'Z', ..] => return Err(format!("parsing time {text:?}: extra text: {:?}", &rest[1..])),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, more @ ..] => {
            let digits = [h1, h2, m1, m2];
            if !digits.iter().all(|b| b.is_ascii_digit()) {
                return fail(rest, "Z07:00");
            }
            if !more.is_empty() {
                return Err(format!("parsing time {text:?}: extra text: {:?}", &rest[6..]));
            }
            let [h1, h2, m1, m2] = digits.map(|b| i64::from(b - b'0'));
            let seconds = (h1 * 10 + h2) * 3600 + (m1 * 10 + m2) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return fail(rest, "Z07:00"),
    };
    let [year, month, day, hour, minute, second] = numbers;
    let small = |n: i64| i8::try_from(n).unwrap_or(i8::MAX);
    let date = jiff::civil::Date::new(i16::try_from(year).unwrap_or(i16::MAX), small(month), small(day));
    let Ok(date) = date else { return out_of_range("day") };
    let civil = date.at(small(hour), small(minute), small(second), i32::try_from(nanoseconds).unwrap_or(0));
    let stamp = civil.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp());
    let stamp = stamp.and_then(|stamp| stamp.checked_sub(jiff::SignedDuration::from_secs(offset)));
    stamp.map_err(|_| format!("parsing time {text:?}: year out of range"))
}

/// Decodes base64 of the URL alphabet without padding.
pub(crate) fn raw_url_base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, lenient).decode(text).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            base64::DecodeError::InvalidLength(length) => length,
            base64::DecodeError::InvalidPadding => text.find('=').unwrap_or(text.len()),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

/// Decodes standard base64; line breaks are skipped.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, String> {
    let source = text.as_bytes();
    let fail = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let mut out = Vec::with_capacity(source.len() / 4 * 3 + 3);
    let mut at = 0;
    let skip = |mut at: usize| {
        while matches!(source.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    loop {
        let mut quantum = [0_u8; 4];
        let mut filled = 0;
        let mut ended = false;
        while filled < 4 {
            at = skip(at);
            let Some(&byte) = source.get(at) else {
                if filled == 0 {
                    return Ok(out);
                }
                return fail(at - filled);
            };
            at += 1;
            if let Some(value) = sextet(byte) {
                quantum[filled] = value;
                filled += 1;
                continue;
            }
            if byte != b'=' || filled < 2 {
                return fail(at - 1);
            }
            if filled == 2 {
                at = skip(at);
                match source.get(at) {
                    None => return fail(source.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return fail(at - 1),
                }
            }
            at = skip(at);
            if at < source.len() {
                return fail(at);
            }
            ended = true;
            break;
        }
        let [a, b, c, d] = quantum;
        let bytes = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        out.extend_from_slice(&bytes[..filled - 1]);
        if ended {
            return Ok(out);
        }
    }
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_errors_name_the_byte() {
        assert_eq!(base64("aGVs\nbG8=").expect("base64"), b"hello");
        assert_eq!(base64("").expect("empty"), b"");
        assert_eq!(base64("not base64").expect_err("space"), "illegal base64 data at input byte 3");
        assert_eq!(base64("abcde").expect_err("short"), "illegal base64 data at input byte 4");
        assert_eq!(base64("ab=c").expect_err("pad"), "illegal base64 data at input byte 2");
        assert_eq!(base64("aGk=x").expect_err("garbage"), "illegal base64 data at input byte 4");
    }

    #[test]
    fn time_errors_name_the_element() {
        let layout = "2006-01-02T15:04:05Z07:00";
        let parsed = time("2024-02-29T12:30:00.5+02:00", layout).expect("time");
        assert_eq!(parsed.to_string(), "2024-02-29T10:30:00.5Z");
        assert_eq!(
            time("tomorrow", layout).expect_err("word"),
            r#"parsing time "tomorrow" as "2006-01-02T15:04:05Z07:00": cannot parse "tomorrow" as "2006""#
        );
        assert_eq!(
            time("2024-01-01", layout).expect_err("date"),
            r#"parsing time "2024-01-01" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#
        );
        assert_eq!(
            time("2023-02-30T00:00:00Z", layout).expect_err("day"),
            r#"parsing time "2023-02-30T00:00:00Z": day out of range"#
        );
    }
}
