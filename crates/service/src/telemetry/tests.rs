//! The fields of all log lines in the sources.

use std::fs;
use std::path::Path;

/// What the log itself writes. In JSON, a field with such a name would be in the line twice.
const RESERVED: [&str; 5] = ["message", "level", "target", "timestamp", "span"];

/// The names of the fields in the calls of macros of `tracing`.
fn fields(source: &str) -> Vec<&str> {
    let calls = source.split("tracing::").skip(1).filter_map(|rest| {
        let (name, arguments) = rest.split_once("!(")?;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_name.then_some(arguments)
    });
    calls.flat_map(fields_of_call).collect()
}

/// The names in the arguments of a call, up to its text.
fn fields_of_call(arguments: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut depth, mut is_text, mut is_escaped, mut start) = (0, false, false, 0);
    for (at, c) in arguments.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            _ if is_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => {
                let argument = arguments[start..at].trim();
                if argument.starts_with('"') {
                    return names;
                }
                names.extend(name(argument));
                start = at + 1;
                if c == ')' {
                    return names;
                }
            }
            _ => {}
        }
    }
    names
}

/// The name of the field, if an argument is one: `name`, `%name`, `?name` or `name = value`.
fn name(argument: &str) -> Option<&str> {
    let field = argument.trim_start_matches(['%', '?']);
    let (name, _) = field.split_once('=').unwrap_or((field, ""));
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// Calls `found` with every Rust source below a directory.
fn each_source(directory: &Path, found: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn no_field_has_a_name_that_the_log_itself_writes() {
    let call = r#"tracing::warn!(
        key = mask(&a, "b, c"), message, %error, "the \"text\" {} {}", level, f(span));"#;
    assert_eq!(fields(call), ["key", "message", "error"]);
    let mut count = 0;
    for part in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap() {
        each_source(&part.unwrap().path().join("src"), &mut |path, source| {
            for field in fields(source) {
                let is_of_this_test = path.ends_with("telemetry/tests.rs");
                assert!(
                    is_of_this_test || !RESERVED.contains(&field),
                    "{}: the field '{field}' needs another name",
                    path.display()
                );
                count += 1;
            }
        });
    }
    assert!(count > 150, "only {count} fields were found");
}
