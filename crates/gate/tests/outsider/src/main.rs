//! `outsider URL KEYS`: shows that the gate does not change JSON handling, and checks a
//! gate with keys.

use std::time::Duration;

use license_gate::Gate;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    A { x: f64, n: u64 },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Text(String),
    Number(f64),
    Named { x: f32 },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    x: f64,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Outer {
    name: String,
    #[serde(flatten)]
    inner: Inner,
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn json_is_what_it_was() {
    let tagged: Tagged = read(r#"{"type": "A", "x": 1.5, "n": 18446744073709551615}"#);
    assert_eq!(tagged, Tagged::A { x: 1.5, n: u64::MAX });
    assert_eq!(read::<Untagged>("2.5"), Untagged::Number(2.5));
    assert_eq!(read::<Untagged>(r#"{"x": 2.5}"#), Untagged::Named { x: 2.5 });
    assert_eq!(read::<Untagged>(r#""2.5""#), Untagged::Text("2.5".to_owned()));
    let flattened: Outer = read(r#"{"name": "a", "x": 3e2}"#);
    assert_eq!(flattened, Outer { name: "a".to_owned(), inner: Inner { x: 300.0 } });
    // Numbers are numbers, and maps are sorted: `arbitrary_precision`, `preserve_order`
    // and `float_roundtrip` are off.
    assert!(serde_json::from_str::<Value>("1e400").is_err());
    assert_eq!(read::<Value>("1.50").to_string(), "1.5");
    assert_eq!(json!({"b": 1, "a": 2}).to_string(), r#"{"a":2,"b":1}"#);
}

fn main() {
    json_is_what_it_was();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, keys] = arguments.as_slice() else {
        panic!("usage: outsider URL KEYS");
    };
    let gate = Gate::builder(url).keys(keys).start().expect("a gate");
    assert!(gate.wait_until_ready(Duration::from_secs(10)), "{gate:?}");
    for feature in ["module.map_view", "module.alarm_advanced", "module.live_view"] {
        println!("{feature}: {}", gate.check(feature).reason);
    }
}
