//! The certificate authorities that this machine trusts: read in the same way as by the TLS
//! library, to explain why none of them has signed a server's certificate.

use std::path::Path;

use license_core::foreign_text;
use license_service::presentable_url::presentable_path;

/// Variables that replace the system's authorities.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
const INSTALL: &str = "install the package ca-certificates";
const CORRECT: &str = "correct or unset the variable";
const EXTEND: &str = "if the required authority is missing, add its certificate to this file or directory, or unset \
     the variable";

/// What was found.
#[derive(Debug)]
pub struct SystemAuthorities {
    count: usize,
    /// The first file or directory that could not be read.
    unreadable: Option<String>,
    /// Each of [`VARIABLES`] that is set, with its value.
    variables: Vec<String>,
}

/// Why certificates of public authorities may not be trusted on this machine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {advice}")]
pub struct Untrusting {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
    /// Whether no authority is trusted at all, so that this is the reason.
    pub is_certain: bool,
}

impl SystemAuthorities {
    /// Reads the authorities' files; this takes a few milliseconds.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "settings of the TLS library, which reads them itself"
    )]
    pub fn read() -> Self {
        let loaded = rustls_native_certs::load_native_certs();
        let value = |name: &str| {
            let value = std::env::var_os(name)?;
            Some(format!(
                "{name} is '{}'",
                presentable_path(Path::new(&value))
            ))
        };
        let unreadable = loaded.errors.first();
        Self {
            count: loaded.certs.len(),
            unreadable: unreadable.map(|error| foreign_text::message(&error.to_string())),
            variables: VARIABLES.into_iter().filter_map(value).collect(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Why they may differ from the system's defaults; `None` if nothing suggests it.
    #[must_use]
    pub fn untrusting(&self) -> Option<Untrusting> {
        let is_certain = self.count == 0;
        if !is_certain && self.variables.is_empty() {
            return None;
        }
        let mut what = match self.count {
            0 => "the system has no certificate authorities".to_owned(),
            1 => "the system has 1 certificate authority".to_owned(),
            count => format!("the system has {count} certificate authorities"),
        };
        let reasons = self.variables.iter().chain(&self.unreadable);
        for (at, reason) in reasons.enumerate() {
            what.push_str(if at == 0 { ": " } else { ", " });
            what.push_str(reason);
        }
        let advice = match self.variables.is_empty() {
            true => INSTALL,
            false if is_certain => CORRECT,
            false => EXTEND,
        };
        Some(Untrusting {
            what,
            advice,
            is_certain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual_is_said_with_what_to_do() {
        let found = |count, variables: &[&str], unreadable: Option<&str>| {
            let found = SystemAuthorities {
                count,
                unreadable: unreadable.map(str::to_owned),
                variables: variables.iter().map(|it| (*it).to_owned()).collect(),
            };
            let found = found.untrusting()?;
            Some((found.to_string(), found.is_certain))
        };
        assert_eq!(found(140, &[], None), None);
        assert_eq!(found(140, &[], Some("one is damaged")), None);
        let none = "the system has no certificate authorities; install the package \
                    ca-certificates";
        assert_eq!(found(0, &[], None), Some((none.to_owned(), true)));
        let wrong = "the system has no certificate authorities: SSL_CERT_FILE is '/x', not found \
                     at '/x'; correct or unset the variable";
        let given = found(0, &["SSL_CERT_FILE is '/x'"], Some("not found at '/x'"));
        assert_eq!(given, Some((wrong.to_owned(), true)));
        let one = "the system has 1 certificate authority: SSL_CERT_FILE is '/x'; if the required \
                   authority is missing, add its certificate to this file or directory, or unset \
                   the variable";
        let given = found(1, &["SSL_CERT_FILE is '/x'"], None);
        assert_eq!(given, Some((one.to_owned(), false)));
    }
}
