//! Texts that are kept beside the tests and compared whole. `DAYBREAK_UPDATE_GOLDEN=1` writes them anew, to be read before they are kept.

use std::path::{Path, PathBuf};

/// Compares a text with the one kept under that name.
pub fn check(name: &str, actual: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/golden").join(name);
    if std::env::var_os("DAYBREAK_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        std::fs::write(&path, actual).expect("a file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if expected == actual {
        return;
    }
    let differs = expected.lines().zip(actual.lines()).position(|(expected, actual)| expected != actual);
    let at = differs.unwrap_or_else(|| expected.lines().count().min(actual.lines().count()));
    let around = |text: &str| text.lines().skip(at.saturating_sub(6)).take(12).collect::<Vec<_>>().join("\n");
    panic!(
        "{name} differs from line {}; DAYBREAK_UPDATE_GOLDEN=1 writes it anew.\nkept:\n{}\n\nnow:\n{}",
        at + 1,
        around(&expected),
        around(actual)
    );
}
