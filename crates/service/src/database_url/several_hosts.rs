//! URLs for several servers.

/// Whether a URL lists alternative servers, which only libpq supports: several hosts, or a
/// condition that one of them has to meet.
pub(super) fn asks_for_several_hosts(text: &str) -> bool {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    // A comma in a password that ends the authority too early does not make a list.
    let is_whole = rest.matches('@').count() == authority.matches('@').count();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    is_whole && hosts.contains(',')
        || parameters.any(|(name, value)| match &*name {
            "host" | "hostaddr" | "port" => value.contains(','),
            "target_session_attrs" => value != "any",
            _ => false,
        })
}
