//! The path in the URL of a request, as a gateway states it.

/// The path and query of a URL such as `https://vms.example/map/1?zoom=2`: the part after the host
/// and port, or `/` if there is none. Everything else is returned unchanged: a path needs no
/// conversion, and other texts are not absolute paths, so [`crate::route::RouteTable::need`]
/// refuses them.
///
/// The host may be chosen by the visitor. It ends at the first slash, which no host contains, and a
/// URL whose host has other characters than hosts and ports have (RFC 3986, section 3.2) is
/// returned unchanged: a user name, or a query before the path, could hide where the path begins.
#[must_use]
pub fn path_of_url(url: &[u8]) -> &[u8] {
    let Some(rest) = after_scheme(url) else {
        return url;
    };
    let end = rest.iter().position(|byte| *byte == b'/');
    let (host, path) = rest.split_at(end.unwrap_or(rest.len()));
    let is_of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    match (host.is_empty(), host.iter().all(is_of_host)) {
        (false, true) if path.is_empty() => b"/",
        (false, true) => path,
        _ => url,
    }
}

fn after_scheme(url: &[u8]) -> Option<&[u8]> {
    [b"https://".as_slice(), b"http://"]
        .iter()
        .find_map(|scheme| {
            let (start, rest) = url.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}
