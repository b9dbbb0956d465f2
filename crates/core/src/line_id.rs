//! Recognizes a line of a file of changes when the file is processed again.

use sha2::{Digest as _, Sha256};

/// Which line of which file it is: 64 hexadecimal digits. `cells` are the names of the columns and
/// the texts of the line in them. The same line may occur several times in a file: `occurrence`
/// counts them, from 0.
///
/// The place of the line does not matter, nor does the order of the columns, so a file can be
/// processed again after other lines of it were corrected.
#[must_use]
pub fn line_id(batch: &str, cells: &[(&str, &str)], occurrence: u64) -> String {
    let mut cells = cells.to_vec();
    cells.sort_unstable();
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        // With their lengths, the texts of one line are never those of another one.
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    add(batch);
    for (name, text) in cells {
        add(name);
        add(text);
    }
    hash.update(occurrence.to_be_bytes());
    hash.finalize()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::line_id;

    #[test]
    fn lines_have_the_same_id_only_if_their_cells_are_the_same() {
        let id = line_id("renew may.csv", &[("key", "K"), ("end", "2030")], 0);
        assert_eq!(id.len(), 64);
        assert_eq!(
            line_id("renew may.csv", &[("end", "2030"), ("key", "K")], 0),
            id
        );
        for other in [
            line_id("renew june.csv", &[("key", "K"), ("end", "2030")], 0),
            line_id("renew may.csv", &[("key", "K"), ("end", "2030")], 1),
            line_id("renew may.csv", &[("key", "K"), ("end", "2031")], 0),
            line_id("renew may.csv", &[("key", "Kend"), ("", "2030")], 0),
            line_id("renew may.csv", &[("key", "K")], 0),
            line_id(
                "renew may.cs",
                &[("v", ""), ("key", "K"), ("end", "2030")],
                0,
            ),
        ] {
            assert_ne!(other, id);
        }
    }
}
