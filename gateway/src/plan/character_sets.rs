//! Character sets and collations that definitions name. Text is UTF-8 and compares byte by byte whatever they say.

use crate::error::{Result, SqlError};

/// Character sets that are what is here, or a part of it.
const TAKEN: &[&str] = &["utf8mb4", "utf8mb3", "utf8", "ascii", "binary", "default"];
/// The others of MySQL and MariaDB.
const OTHERS: &[&str] = &[
    "armscii8", "big5", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8",
    "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r",
    "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2",
    "ujis", "utf16", "utf16le", "utf32",
];

fn warning(message: String) -> SqlError {
    SqlError { code: 1_235, state: "42000", message }
}

/// Checks a character set, and adds a warning for one that text is not written in.
///
/// # Errors
/// 1115 when there is none of this name.
pub fn check_character_set(name: &str, warnings: &mut Vec<SqlError>) -> Result<()> {
    let lower = name.to_ascii_lowercase();
    if OTHERS.contains(&lower.as_str()) {
        warnings.push(warning(format!("Character set '{name}' is taken as utf8mb4")));
    } else if !TAKEN.contains(&lower.as_str()) {
        let message = format!("Unknown character set: '{name}'");
        return Err(SqlError { code: 1_115, state: "42000", message });
    }
    Ok(())
}

/// Checks a collation, and adds a warning for one that text does not compare by.
///
/// # Errors
/// 1273 when the name does not begin with a character set, or does not end as those of collations do.
pub fn check_collation(name: &str, warnings: &mut Vec<SqlError>) -> Result<()> {
    /// What MariaDB takes without a character set.
    const FOR_ALL: &str = "uca1400";
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "binary" | "default") {
        return Ok(());
    }
    let parts: Vec<&str> = lower.split('_').collect();
    let (first, last) = (parts[0], parts.last().copied().unwrap_or_default());
    let of_set = first == FOR_ALL || TAKEN.contains(&first) || OTHERS.contains(&first);
    if !of_set || parts.len() < 2 || !matches!(last, "bin" | "ci" | "cs" | "ks") {
        let message = format!("Unknown collation: '{name}'");
        return Err(SqlError { code: 1_273, state: "HY000", message });
    }
    if last != "bin" {
        let text = format!("Collation '{name}' is taken as utf8mb4_nopad_bin: text compares byte by byte");
        warnings.push(warning(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_or_refused() {
        for (name, expected) in [("utf8mb4", 0), ("UTF8", 0), ("binary", 0), ("latin1", 1)] {
            let mut warnings = Vec::new();
            check_character_set(name, &mut warnings).expect(name);
            assert_eq!(warnings.len(), expected, "{name}");
        }
        for (name, expected) in [
            ("utf8mb4_bin", 0),
            ("utf8mb4_nopad_bin", 0),
            ("binary", 0),
            ("utf8mb4_0900_ai_ci", 1),
            ("utf8mb4_ja_0900_as_cs_ks", 1),
            ("latin1_swedish_ci", 1),
            ("uca1400_ai_ci", 1),
        ] {
            let mut warnings = Vec::new();
            check_collation(name, &mut warnings).expect(name);
            assert_eq!(warnings.len(), expected, "{name}");
        }
        for name in ["klingon", "utf8mb5", ""] {
            assert_eq!(check_character_set(name, &mut Vec::new()).expect_err(name).code, 1115);
        }
        for name in ["klingon_bin", "utf8mb4", "utf8mb4_nonsense", "bin", ""] {
            assert_eq!(check_collation(name, &mut Vec::new()).expect_err(name).code, 1273);
        }
    }
}
