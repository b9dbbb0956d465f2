//! A named case, and the list that cases are added to.

use license_core::keyring::JwkSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::signer::{Signer, license_claims};

/// One case. The chain is followed from its keys, and its documents are verified in order;
/// the result of the last one counts.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) name: String,
    /// `license`, `denial`, `release` or `keyset`.
    pub(super) kind: String,
    /// The trusted JWK Set.
    pub(super) keys: JwkSet,
    pub(super) documents: Vec<String>,
    /// `ok`, or the reason for rejection.
    pub(super) expect: String,
}

pub(super) struct Cases {
    pub(super) vendor: Signer,
    pub(super) all: Vec<Case>,
}

impl Cases {
    pub(super) fn add(
        &mut self,
        kind: &str,
        name: &str,
        document: impl Into<String>,
        expect: &str,
    ) {
        let keys = self.vendor.jwk_set();
        self.with_keys(kind, name, keys, vec![document.into()], expect);
    }

    pub(super) fn with_keys(
        &mut self,
        kind: &str,
        name: &str,
        keys: JwkSet,
        documents: Vec<String>,
        expect: &str,
    ) {
        self.all.push(Case {
            name: format!("{kind}: {name}"),
            kind: kind.to_owned(),
            keys,
            documents,
            expect: expect.to_owned(),
        });
    }

    /// The vendor's license with another header.
    pub(super) fn header(&mut self, name: &str, header: &Value, expect: &str) {
        let payload = serde_json::to_string(&license_claims()).unwrap();
        let document = self.vendor.raw(&header.to_string(), &payload);
        self.add("license", name, document, expect);
    }

    /// The vendor's license with one claim changed or removed.
    pub(super) fn claim(&mut self, name: &str, claim: &str, value: Option<Value>, expect: &str) {
        let mut claims = serde_json::to_value(license_claims()).unwrap();
        let object = claims.as_object_mut().unwrap();
        match value {
            Some(value) => object.insert(claim.into(), value),
            None => object.remove(claim),
        };
        let document = self
            .vendor
            .raw(&self.vendor.license_header(), &claims.to_string());
        self.add("license", name, document, expect);
    }
}
