//! Paths that every program divides into the same segments.
//!
//! A proxy may decide based on a decoded and normalized path, and pass on the original. The
//! original must not match the route of a different path.

use percent_encoding::percent_decode_str;

/// Whether a received path has the same segments when it is decoded and normalized, once or several
/// times. The following are not plain: escaped slashes, backslashes, escaped escapes, parameters of
/// segments, dot segments, empty segments other than the last one, escapes of `?` and `#`, control
/// characters, and bytes that are not UTF-8. No route needs such a path.
#[must_use]
pub fn is_plain(path: &str) -> bool {
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return false;
    };
    let is_odd = |c: char| c.is_control() || matches!(c, '\\' | '%' | ';' | '?' | '#');
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    if decoded.contains(is_odd) || slashes(&decoded) != slashes(path) {
        return false;
    }
    let relative = decoded.strip_prefix('/').unwrap_or(&decoded);
    let mut segments = relative.rsplit('/');
    // The last segment is empty in a path that ends with a slash.
    let is_dot = |segment: &str| matches!(segment, "." | "..");
    !segments.next().is_some_and(is_dot)
        && segments.all(|segment| !segment.is_empty() && !is_dot(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_routes_are_plain_in_any_unambiguous_spelling() {
        for path in [
            "/",
            "",
            "*",
            "/livez",
            "/docs/",
            "/api/licenses/keys",
            "/api/admin/licenses/FXSGHT-AAAA-BBBB-CCCC-DDDD/seats",
            "/api/admin/licenses/%20FXSGHT%2DAAAA%E2%80%93BBBB",
            "/api/license/features/module%2Emap_view",
            "/api/license/features/..x",
            "/%61pi/license/status",
        ] {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn other_segments_in_any_spelling_are_not_plain() {
        for path in [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a/../b",
            "/a/..",
            "/a/./b",
            "/.",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/..;/b",
            "/a;x=/b",
            "/a%3b/b",
            "//a",
            "/a//b",
            "/a//",
            "//",
            // Decoded more than once.
            "/a%252fb",
            "/a%25252fb",
            "/a%%32%66b",
            "/a%2%66b",
            "/a/%252e%252e/b",
            "/a%25",
            "/a%u002fb",
            "/a%zz",
            "/a%",
            // Overlong UTF-8.
            "/a%c0%afb",
            "/%c0%ae%c0%ae/b",
            "/a%ff",
            // Other ends of the path.
            "/a%3fb",
            "/a%23b",
            "/a%00",
            "/a%0d%0ab",
            "/..%20/%7f",
            "/a%c2%85",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
