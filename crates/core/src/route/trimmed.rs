//! Paths as read by services that trim segments.

use super::text::Text;

impl Text {
    /// The text without spaces around its segments and, with `dots`, without trailing dots, as
    /// Windows opens files. `None` if it does not change.
    pub(super) fn trimmed(&self, dots: bool) -> Option<Self> {
        let mut next = Self::with_capacity(self.bytes().len());
        let mut start = 0;
        for segment in self.bytes().split_inclusive(is_segment_end) {
            let (segment, end) = match segment {
                [segment @ .., last] if is_segment_end(last) => (segment, 1),
                segment => (segment, 0),
            };
            let leading = segment.iter().take_while(|byte| **byte == b' ').count();
            let mut kept = trimmed_end(&segment[leading..], b" ");
            if dots && !matches!(kept, b"." | b"..") {
                kept = trimmed_end(kept, b" .");
            }
            let first = start + leading;
            next.extend_from(self, first..first + kept.len());
            start += segment.len();
            next.extend_from(self, start..start + end);
            start += end;
        }
        (next.bytes().len() < self.bytes().len()).then_some(next)
    }

    /// Whether a segment begins or ends with a space, or ends with a dot.
    pub(super) fn has_something_to_trim(&self) -> bool {
        if !self.bytes().contains(&b'.') && !self.bytes().contains(&b' ') {
            return false;
        }
        let mut before = b'/';
        let mut bytes = self.bytes().iter().chain(b"/");
        bytes.any(|byte| {
            let is_end = is_segment_end(byte) && matches!(before, b' ' | b'.');
            let is_start = *byte == b' ' && is_segment_end(&before);
            before = *byte;
            is_end || is_start
        })
    }
}

fn is_segment_end(byte: &u8) -> bool {
    matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#')
}

fn trimmed_end<'a>(mut bytes: &'a [u8], trimmed: &[u8]) -> &'a [u8] {
    while let [rest @ .., last] = bytes
        && trimmed.contains(last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &str) -> Text {
        Text::raw(bytes.as_bytes())
    }

    fn shown(text: Option<Text>) -> Option<String> {
        text.map(|it| String::from_utf8(it.bytes().to_vec()).unwrap())
    }

    #[test]
    fn segments_are_trimmed_and_dots_alone_stay_dots() {
        for (path, spaces, dots) in [
            ("/a/b", None, None),
            ("/a./.b/..", None, Some("/a/.b/..")),
            ("/ a /b ", Some("/a/b"), Some("/a/b")),
            ("/a. ./b", None, Some("/a/b")),
            ("/.. /. /...", Some("/.././..."), Some("/.././")),
            ("/a .;x/ ;", Some("/a .;x/;"), Some("/a;x/;")),
            ("/. ./x", None, Some("//x")),
            (" ", Some(""), Some("")),
        ] {
            let text = text(path);
            let expected = (spaces.map(str::to_owned), dots.map(str::to_owned));
            let found = (shown(text.trimmed(false)), shown(text.trimmed(true)));
            assert_eq!(found, expected, "{path}");
            let may = text.has_something_to_trim();
            assert!(may || dots.is_none(), "{path}");
        }
    }
}
