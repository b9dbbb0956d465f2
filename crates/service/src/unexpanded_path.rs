//! Paths with placeholders that nothing has expanded: taken literally, they would lead to a new, empty
//! directory.

/// What a path setting contains that a shell or systemd would have replaced; `None` if nothing.
/// Placeholders are `~` at the beginning, `$NAME` and `${NAME}` anywhere, and a percent sign with a
/// letter at the beginning of a component, as in `%h/data`.
#[must_use]
pub(crate) fn placeholder(path: &str) -> Option<&str> {
    if path.starts_with('~') {
        return Some(first_component(path));
    }
    let of_variable = path.match_indices('$').find_map(|(index, _)| {
        let name = &path[index + 1..];
        let is_placeholder =
            name.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic());
        is_placeholder.then(|| first_component(&path[index..]))
    });
    let of_unit = || {
        path.split('/').find(|component| {
            let letter = component.strip_prefix('%');
            letter.is_some_and(|it| it.starts_with(|c: char| c.is_ascii_alphabetic()))
        })
    };
    of_variable.or_else(of_unit)
}

fn first_component(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_and_other_paths_are_not() {
        for (path, expected) in [
            ("~", "~"),
            ("~/lic", "~"),
            ("~vms/lic", "~vms"),
            ("$HOME/lic", "$HOME"),
            ("${HOME}/lic", "${HOME}"),
            ("${XDG_STATE_HOME:-/var/lib}/lic", "${XDG_STATE_HOME:-"),
            ("/srv/$SITE/lic", "$SITE"),
            ("/srv/lic-$_x", "$_x"),
            ("%h/lic", "%h"),
            ("/var/lib/%i", "%i"),
            ("/var/lib/%n-data/x", "%n-data"),
            ("%USERPROFILE%/lic", "%USERPROFILE%"),
        ] {
            assert_eq!(placeholder(path), Some(expected), "{path}");
        }
        for path in [
            "",
            ".",
            "/var/lib/lic",
            "data~",
            "/srv/~old",
            "/srv/a$",
            "/srv/$5",
            "/srv/100%",
            "/srv/%20x",
            "/srv/100%h",
            "daten ü",
        ] {
            assert_eq!(placeholder(path), None, "{path}");
        }
    }
}
