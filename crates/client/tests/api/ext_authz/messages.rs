//! Messages, written and read by the numbers of their fields.

use std::collections::BTreeMap;

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

pub(super) fn field(number: usize, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [
        varint(number << 3 | 2),
        varint(content.len()),
        content.to_vec(),
    ]
    .concat()
}

pub(super) fn entry(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [field(1, key), field(2, value)].concat()
}

/// What Envoy says of a request.
#[derive(Clone, Default)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a [u8],
    pub(super) raw_paths: Vec<&'a [u8]>,
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) feature: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(method: &'a str, path: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            method,
            path: path.as_ref(),
            ..Self::default()
        }
    }

    pub(super) fn message(&self) -> Vec<u8> {
        let mut http = [field(2, self.method), field(4, self.path)].concat();
        for (name, value) in &self.headers {
            http.extend(field(3, entry(name, value)));
        }
        let raw: Vec<Vec<u8>> = self
            .raw_paths
            .iter()
            .map(|path| field(1, [field(1, ":path"), field(3, path)].concat()))
            .collect();
        if !raw.is_empty() {
            http.extend(field(13, raw.concat()));
        }
        let extensions = self.feature.map(|key| field(10, entry("feature", key)));
        let attributes = [field(4, field(2, http)), extensions.unwrap_or_default()].concat();
        field(1, attributes)
    }
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// The values of a field: the contents of texts and messages, or a number.
fn values(message: &[u8], number: usize) -> Vec<Vec<u8>> {
    let read_varint = |at: &mut usize| {
        let (mut value, mut shift) = (0usize, 0);
        loop {
            let byte = message[*at];
            *at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    let (mut at, mut found) = (0, Vec::new());
    while at < message.len() {
        let tag = read_varint(&mut at);
        let value = match tag & 7 {
            0 => read_varint(&mut at).to_string().into_bytes(),
            2 => {
                let length = read_varint(&mut at);
                at += length;
                message[at - length..at].to_vec()
            }
            other => panic!("wire type {other}"),
        };
        if tag >> 3 == number {
            found.push(value);
        }
    }
    found
}

fn texts(message: &[u8], number: usize) -> Vec<String> {
    let values = values(message, number).into_iter();
    values.map(|it| String::from_utf8(it).unwrap()).collect()
}

fn first(message: &[u8], number: usize) -> Vec<u8> {
    values(message, number)
        .into_iter()
        .next()
        .unwrap_or_default()
}

fn text(message: &[u8], number: usize) -> String {
    String::from_utf8(first(message, number)).unwrap()
}

/// A `CheckResponse`.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: String,
    /// The status that the visitor gets, 200 where the request passes.
    pub(super) status: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) removed: Vec<String>,
    pub(super) body: String,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Answer {
    pub(super) fn read(message: &[u8]) -> Self {
        let (denied, ok) = (first(message, 2), first(message, 3));
        assert!(denied.is_empty() != ok.is_empty(), "one of two");
        let mut headers = BTreeMap::new();
        for option in [values(&denied, 2), values(&ok, 2)].concat() {
            assert_eq!(text(&option, 3), "2", "it replaces what there is");
            let header = first(&option, 1);
            headers.insert(text(&header, 1), text(&header, 2));
        }
        let entries = values(&first(message, 4), 1);
        let metadata = entries.iter().map(|entry| {
            let value = first(entry, 2);
            (text(entry, 1), text(&value, 3) + &text(&value, 4))
        });
        Self {
            code: text(&first(message, 1), 1),
            status: match denied.is_empty() {
                true => "200".to_owned(),
                false => text(&first(&denied, 1), 1),
            },
            headers,
            removed: texts(&ok, 5),
            body: text(&denied, 3),
            metadata: metadata.collect(),
        }
    }

    pub(super) fn reason(&self) -> &str {
        &self.headers["x-license-reason"]
    }
}
