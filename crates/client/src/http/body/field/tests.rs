use serde_json::json;

use super::*;

const COUNT: Number = Number::new("count", "").between(1, 1_000).default(7);
const WORD: Choice<&str> = Choice::new("word", "", &["a", "b", "c"], |word| word);
const NAME: Text = Text::new("name", "").not_blank().max_chars(3);

fn read<F: Field>(field: &F, value: Value) -> Result<F::Value, ApiError> {
    let body = Map::from_iter([(field.name().to_owned(), value)]);
    JsonObject(body).read(field)
}

#[test]
fn a_whole_number_is_read_in_every_spelling() {
    let read = |json: &str| {
        read(&COUNT, serde_json::from_str(json).unwrap())
            .ok()
            .flatten()
    };
    for (json, number) in [
        ("1", Some(1)),
        ("1000.0", Some(1_000)),
        ("1e3", Some(1_000)),
        ("null", Some(7)),
        ("0", None),
        ("-0.0", None),
        ("-1", None),
        ("1001", None),
        ("1.5", None),
        ("1e30", None),
        ("1e999", None),
        ("\"1\"", None),
        ("true", None),
    ] {
        assert_eq!(read(json), number, "{json}");
    }
    let missing = JsonObject(Map::new()).read(&COUNT);
    assert_eq!(missing.unwrap(), Some(7));
}

#[test]
fn a_refused_text_says_what_is_accepted() {
    fn refusal<F: Field>(field: &F, text: &str) -> String {
        match read(field, json!(text)) {
            Ok(_) => String::new(),
            Err(error) => error.detail(),
        }
    }
    assert_eq!(refusal(&WORD, "b"), "");
    assert_eq!(refusal(&WORD, "d"), "Value error, expected a, b or c");
    assert_eq!(refusal(&NAME, "門門門"), "");
    assert!(refusal(&NAME, "門門門門").contains("at most 3 characters"));
    assert!(refusal(&NAME, " \t").contains("must not be blank"));
    assert!(refusal(&NAME, "a\0").contains("NUL"));
}

#[test]
fn amounts_are_read_by_key() {
    const AMOUNTS: Amounts = Amounts {
        name: "counts",
        description: "",
        example: ("lanes", 1),
    };
    let of = |value| read(&AMOUNTS, value);
    let refusal = |value| of(value).unwrap_err().detail();
    let lanes = of(json!({"lanes": 3, "doors": 0})).unwrap();
    assert_eq!(
        lanes.iter().collect::<Vec<_>>(),
        [("doors", 0), ("lanes", 3)]
    );
    assert!(of(Value::Null).unwrap().is_empty());
    assert!(refusal(json!({"lanes": null})).contains("'lanes' should be a whole number"));
    assert!(refusal(json!({"cameras": 1})).contains("'cameras' must be reported in its own field"));
    assert!(refusal(json!({"": 1})).contains("at least one character"));
    let many: Map<_, _> = (0..33).map(|key| (key.to_string(), json!(1))).collect();
    assert!(refusal(many.into()).contains("at most 32"));
    let schema = serde_json::to_value(AMOUNTS.schema()).unwrap();
    assert_eq!(schema["maxProperties"], 32);
    let pattern = &schema["propertyNames"]["pattern"];
    assert_eq!(pattern, "^(?!(cameras|users|storage_gb)$)[^\\u0000]*$");
}

#[test]
fn the_document_says_what_the_reader_accepts() {
    let schema = |field: &dyn Described| serde_json::to_value(field.schema()).unwrap();
    let count = schema(&COUNT);
    assert_eq!(count["minimum"], 1);
    assert_eq!(count["maximum"], 1_000);
    assert_eq!(count["default"], 7);
    assert_eq!(count["type"], json!(["integer", "null"]));
    assert_eq!(schema(&WORD)["enum"], json!(["a", "b", "c"]));
    let name = schema(&NAME);
    assert_eq!(name["maxLength"], 3);
    assert_eq!(name["pattern"], NOT_BLANK);
    let body = serde_json::to_value(object("", &[&NAME, &COUNT])).unwrap();
    assert_eq!(body["required"], json!(["name"]));
}
