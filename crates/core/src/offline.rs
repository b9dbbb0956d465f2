//! Licensing by file, for sites without internet: the site writes a request, the vendor answers it
//! with a license file, and the site imports the license file.
//!
//! Files are text in an armour like PEM's (RFC 7468), and survive an e-mail: text around the
//! armour, line endings, quotation marks, markup, invisible characters and changed hyphens do not
//! matter. A response is a signed document like any other; it is accepted only once, for the
//! request whose nonce it contains.

mod armour;
mod import;
mod license_file;
mod request;
mod request_file;

pub use armour::{FileError, MAX_FILE_BYTES};
pub use import::{ImportError, Imported, Reader, import, is_about_license};
pub use license_file::{from_file, to_file};
pub use request::{
    MAX_PENDING, MAX_REQUEST_CHARS, MAX_REQUEST_SKEW, OfflineRequest, Pending, Purpose,
    WrittenAhead, is_outdated, nonce,
};
pub use request_file::RequestFile;
