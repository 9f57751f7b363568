//! What a plain scalar stands for, by the core schema of YAML 1.2 and the few forms that libraries for Rust add, as
//! `0b11`. A test compares with the library that reads the records of the status branch.

use serde_json::{Number, Value};

/// The value of a plain scalar; nothing where it is a number that JSON cannot hold.
pub(super) fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    let string = || Some(Value::String(text.to_owned()));
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..)?),
        Some(b'+') => (false, text.get(1..)?),
        Some(b'.' | b'0'..=b'9') => (false, text),
        // No number begins with anything else.
        _ => return string(),
    };
    match integer(unsigned) {
        Some(Integer::LeadingZero) => string(),
        Some(Integer::Magnitude(magnitude)) if negative => {
            // By subtraction: the magnitude of the smallest `i64` is not one itself.
            Some(Value::Number(0_i64.checked_sub_unsigned(magnitude?)?.into()))
        }
        Some(Integer::Magnitude(magnitude)) => Some(Value::Number(magnitude?.into())),
        None if matches!(unsigned, ".inf" | ".Inf" | ".INF") => None,
        // Rust would also take `+inf` and `-nan` for numbers.
        None if !unsigned.starts_with(['.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => string(),
        None => match unsigned.parse::<f64>() {
            Ok(number) => Number::from_f64(if negative { -number } else { number }).map(Value::Number),
            Err(_) => string(),
        },
    }
}

enum Integer {
    /// Digits behind a zero are text, so that `007` stays what it is.
    LeadingZero,
    /// The value, unless it has more than 64 bits.
    Magnitude(Option<u64>),
}

fn integer(text: &str) -> Option<Integer> {
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((text.strip_prefix(prefix)?, radix)));
    let (digits, radix) = prefixed.unwrap_or((text, 10));
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Some(Integer::LeadingZero);
    }
    Some(Integer::Magnitude(u64::from_str_radix(digits, radix).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_the_reader_of_records_takes_them_for() {
        for text in [
            "~",
            "null",
            "True",
            "no",
            "12",
            "-12",
            "+12",
            "-0",
            "0x1f",
            "-0x1f",
            "0o17",
            "0b101",
            "0b2",
            "0x",
            "007",
            "-007",
            "1.5",
            "-1.5",
            ".5",
            "1.",
            "1e3",
            "1E-3",
            "+1.5",
            "1_000",
            "1:30",
            "2001-01-01",
            "-",
            "+",
            ".",
            "..",
            "0x+1",
            "+-1",
            "--1",
            "+inf",
            "-nan",
            "infinity",
            "1e",
            "18446744073709551615",
            "-9223372036854775808",
            "00.5",
            "7d",
            "<<",
            "=",
        ] {
            let expected: Value = serde_yaml::from_str(&format!("[{text}]")).unwrap();
            assert_eq!(resolve(text).map(|value| Value::Array(vec![value])), Some(expected), "{text}");
        }
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_no_values() {
        for text in [
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890123456789012345678",
            ".inf",
            "-.Inf",
            ".nan",
            "1e400",
            "0xfffffffffffffffff",
        ] {
            assert_eq!(resolve(text), None, "{text}");
        }
    }
}
