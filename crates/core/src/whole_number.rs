//! Whole numbers in JSON.

use serde_json::Number;

/// The number, spelled without a fraction or exponent if it is whole: 7 for `7`, `7.0` and `0.7e1`,
/// which are all integers (JSON Schema 2020-12, validation, section 6.1.1). None if it is not
/// whole, or does not fit into 64 bits.
#[must_use]
pub fn whole_number(number: &Number) -> Option<Number> {
    if number.is_i64() || number.is_u64() {
        return Some(number.clone());
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
    // The sum turns -0 into 0.
    let digits = format!("{:.0}", float + 0.0);
    let negative = || digits.parse::<i64>().map(Number::from);
    digits
        .parse::<u64>()
        .map(Number::from)
        .or_else(|_| negative())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::whole_number;

    #[test]
    fn whole_numbers_lose_their_fraction_and_exponent() {
        for (json, expected) in [
            ("7", Some("7")),
            ("7.0", Some("7")),
            ("0.7e1", Some("7")),
            ("-0.0", Some("0")),
            ("-3.0", Some("-3")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("1e30", None),
            ("-1e30", None),
            ("7.5", None),
        ] {
            let number = whole_number(&serde_json::from_str(json).unwrap());
            assert_eq!(
                number.map(|it| it.to_string()).as_deref(),
                expected,
                "{json}"
            );
        }
    }
}
