//! Which answers are confirmations, which are denials, and which are no contact.

mod calls;
mod codes;
mod key_sets;
mod no_contact;
mod receipts;
mod signed;
mod unsigned;

use license_core::response::{Confirmation, Contact, Denial, NoContact, Question, Reply, Trust};

use crate::signer::{activation, validation};

const YES: &str = r#"{"success":true,"data":{"isValid":true,"license":{"licenseKey":"K"}}}"#;
const NO: &str = r#"{"success":true,"data":{"isValid":false,"reason":"revoked"}}"#;
const REFUSED: &str = r#"{"success":false,"error":{"code":"revoked","message":"No"}}"#;
const HTML: &str = "<html><body>Please sign in</body></html>";

type Call = fn(&Reply, &Question, &Trust) -> Contact;
const CALLS: [Call; 2] = [activation, validation];

/// The classification as a word with its code.
fn word(contact: &Contact) -> String {
    match contact {
        Contact::Confirmed(_) => "yes".into(),
        Contact::Denied(denial) => format!("no: {}", denial.reason()),
        Contact::None(why) => format!("none: {}", why.code()),
    }
}

/// The classification of the same answer without any signature where keys are trusted.
fn word_with_keys(unsigned: &str) -> &str {
    if unsigned.starts_with("none: ") {
        unsigned
    } else {
        "none: server_does_not_sign"
    }
}

fn no_contact(contact: Contact) -> NoContact {
    let Contact::None(why) = contact else {
        panic!("{contact:?} is contact");
    };
    why
}

fn confirmation(contact: Contact) -> Confirmation {
    let Contact::Confirmed(confirmation) = contact else {
        panic!("{contact:?} is no confirmation");
    };
    confirmation
}

fn denial(contact: Contact) -> Denial {
    let Contact::Denied(denial) = contact else {
        panic!("{contact:?} is no denial");
    };
    denial
}
