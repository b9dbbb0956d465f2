//! The table of `GATE_ROUTES`: which feature a path of the VMS needs.

use std::path::{Path, PathBuf};

use arc_swap::{ArcSwap, Guard};
use license_core::feature::FeatureKey;
use license_core::route::{Otherwise, Pattern, Route, RouteTable};
use license_service::presentable_url::presentable_path;
use license_service::{text_file, toml_text};
use serde::Deserialize;
use std::sync::Arc;
use toml::Spanned;

/// The table and its source.
pub struct GateRoutes {
    file: Option<PathBuf>,
    table: ArcSwap<RouteTable>,
}

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GateRoutesError {
    /// The file cannot be read.
    #[error("GATE_ROUTES: the file '{file}' cannot be read: {error}")]
    File {
        /// The file.
        file: String,
        /// The cause.
        error: std::io::Error,
    },
    /// A line is invalid.
    #[error("GATE_ROUTES: '{file}', line {line}: {why}")]
    Line {
        /// The file.
        file: String,
        /// The line number, starting at 1.
        line: usize,
        /// The problem.
        why: String,
    },
    /// The file contains neither a route nor a `default`: it may have been emptied by mistake, and
    /// must not open all gates.
    #[error(
        "GATE_ROUTES: '{file}' contains neither a [[route]] nor a default. Restore the file, or \
         write default = \"deny\" to refuse every path, or default = \"allow\" to allow every path"
    )]
    Empty {
        /// The file.
        file: String,
    },
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What happens to a request that matches no route. Optional only beside routes.
    default: Option<Default>,
    /// Whether to compare paths case-insensitively.
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    route: Vec<Line>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Default {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: Spanned<String>,
    #[serde(default)]
    methods: Vec<Spanned<String>>,
    /// Absent for a path that requires no feature.
    feature: Option<Spanned<String>>,
}

impl GateRoutes {
    /// Reads the table, if a file is set.
    ///
    /// # Errors
    /// One [`GateRoutesError`] for each reason, with the line at fault.
    pub fn load(file: Option<&Path>) -> Result<Self, GateRoutesError> {
        let table = file.map(read).transpose()?.unwrap_or_default();
        Ok(Self {
            file: file.map(Path::to_owned),
            table: ArcSwap::from_pointee(table),
        })
    }

    /// Reloads the table, if a file is set.
    ///
    /// # Errors
    /// As [`GateRoutes::load`]; the previous table then stays in effect.
    pub fn reload(&self) -> Result<(), GateRoutesError> {
        if let Some(file) = &self.file {
            self.table.store(Arc::new(read(file)?));
        }
        Ok(())
    }

    /// The table; `None` if none is configured.
    #[must_use]
    pub fn table(&self) -> Option<Guard<Arc<RouteTable>>> {
        self.file.as_ref().map(|_| self.table.load())
    }
}

fn read(file: &Path) -> Result<RouteTable, GateRoutesError> {
    let shown = presentable_path(file);
    let text = text_file::read(file).map_err(|error| GateRoutesError::File {
        file: shown.clone(),
        error,
    })?;
    match parse(&text) {
        Ok(Some(table)) => Ok(table),
        Ok(None) => Err(GateRoutesError::Empty { file: shown }),
        Err((at, why)) => Err(GateRoutesError::Line {
            file: shown,
            line: text[..at.min(text.len())].matches('\n').count() + 1,
            why,
        }),
    }
}

/// The table, or the position and reason of the error. `None` if the text contains neither a route
/// nor a `default`.
fn parse(text: &str) -> Result<Option<RouteTable>, (usize, String)> {
    let file: File = toml_text::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (at, error.message().to_owned())
    })?;
    let mut routes = Vec::with_capacity(file.route.len());
    for line in file.route {
        let wrong = |at: &Spanned<String>, why: String| (at.span().start, why);
        let pattern = Pattern::parse(line.path.as_ref());
        let pattern = pattern.map_err(|error| wrong(&line.path, error.to_string()))?;
        let mut methods = Vec::new();
        for method in line.methods {
            let name = method.as_ref().to_ascii_uppercase();
            let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
            if name.is_empty() || !name.bytes().all(is_letter) {
                return Err(wrong(&method, format!("'{name}' is not an HTTP method")));
            }
            methods.push(name);
        }
        let feature = match &line.feature {
            None => None,
            Some(key) => Some(
                FeatureKey::parse(key.as_ref()).map_err(|error| wrong(key, error.to_string()))?,
            ),
        };
        routes.push(Route {
            methods,
            pattern,
            feature,
        });
    }
    let otherwise = match file.default {
        Some(Default::Allow) => Otherwise::Allow,
        Some(Default::Deny) => Otherwise::Deny,
        None if routes.is_empty() => return Ok(None),
        None => Otherwise::default(),
    };
    Ok(Some(RouteTable::new(routes, otherwise, file.ignore_case)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_and_a_wrong_line_is_named() {
        let good = "default = \"deny\"\n\n[[route]]\npath = \"/api/map/**\"\nmethods = [\"get\", \"version-control\"]\n\
                    feature = \"module.map_view\"\n\n[[route]]\npath = \"/free\"\n";
        let table = parse(good).unwrap().unwrap();
        assert_eq!((table.len(), table.otherwise()), (2, Otherwise::Deny));
        for (wrong, line, why) in [
            ("default = \"perhaps\"", 1, "perhaps"),
            ("[[route]]\npaht = \"/x\"", 2, "paht"),
            ("[[route]]\nfeature = \"x\"", 1, "path"),
            ("[[route]]\npath = \"x\"", 2, "slash"),
            ("[[route]]\npath = \"/a/**/b\"", 2, "last"),
            (
                "[[route]]\npath = \"/a\"\nfeature = \"\"",
                3,
                "one character",
            ),
            (
                "[[route]]\npath = \"/a\"\nmethods = [\"GET\", \"P T\"]",
                3,
                "P T",
            ),
            ("[[route]]\npath = \"/a b\"", 2, "percent-encoded"),
            ("[[route]]\npath = \"/a#b\"", 2, "percent-encoded"),
            ("[[route]]\npath = \"/a\"\n[[rout", 3, ""),
        ] {
            let (at, found) = parse(wrong).err().unwrap();
            let number = wrong[..at].matches('\n').count() + 1;
            assert_eq!(number, line, "{wrong}: {found}");
            assert!(found.contains(why), "{wrong}: {found}");
        }
    }

    #[test]
    fn an_emptied_table_is_refused_unless_its_default_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("routes.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("[[route]]\npath = \"/map\"\nfeature = \"module.map_view\"\n");
        let routes = GateRoutes::load(Some(&file)).unwrap();
        for empty in [
            "",
            "\u{feff}",
            "\n \n",
            "# [[route]]\n# path = \"/map\"\n",
            "ignore_case = true",
            "route = []",
        ] {
            write(empty);
            let error = GateRoutes::load(Some(&file)).err().unwrap();
            assert!(matches!(error, GateRoutesError::Empty { .. }), "{empty:?}");
            assert!(routes.reload().is_err(), "{empty:?}");
            assert_eq!(routes.table().unwrap().len(), 1, "{empty:?}");
        }
        for (text, otherwise) in [
            ("default = \"allow\"", Otherwise::Allow),
            ("default = \"deny\"", Otherwise::Deny),
        ] {
            write(text);
            routes.reload().unwrap();
            let table = routes.table().unwrap();
            assert_eq!((table.len(), table.otherwise()), (0, otherwise));
        }
    }
}
