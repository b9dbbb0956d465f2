//! Licensing by file, for sites without internet: the site writes a request, the vendor answers it
//! with a license file, and the site imports the license file.
//!
//! Files are text in an armour like PEM's (RFC 7468), and survive an e-mail: what stands
//! around the armour, line endings, marks of quoting, markup, invisible characters and
//! what word processors make of hyphens do not matter. An answer is a signed document like
//! any other; it counts once, for the request whose nonce it bears.

mod armour;
mod import;
mod license_file;
mod request;

pub use armour::{FileError, MAX_FILE_BYTES};
pub use import::{ImportError, Imported, Reader, import};
pub use license_file::{from_file, to_file};
pub use request::{
    MAX_PENDING, MAX_REQUEST_CHARS, MAX_REQUEST_SKEW, OfflineRequest, Pending, Purpose,
    WrittenAhead, is_outdated, nonce,
};
