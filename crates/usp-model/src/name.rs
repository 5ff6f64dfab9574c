//! Names that people choose. Each is checked once, here; none ever becomes a path on disk.

use crate::error::{is_bidi_control, printable};
use crate::limits::{BUCKET_NAME_BYTES_MAX, FILE_KEY_BYTES_MAX, LABEL_KEY_BYTES_MAX, NAME_BYTES_MAX};
use crate::{Error, ErrorKind, Result};

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $action:literal, $check:path) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Errors: `InvalidInput` with the rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(reason) => Err(Error::new(ErrorKind::InvalidInput, $action)
                        .because(format!("'{}' will not do: {reason}", printable(text)))),
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        checked_text!($name);
    };
}

name!(
    /// 3..=63 of `a-z 0-9 . -`, beginning and ending with a letter or digit (the S3 rule, so that it holds there too).
    BucketName,
    "read bucket name",
    check_bucket
);
name!(
    /// Where a file stands in its bucket: 1..=1024 bytes of UTF-8, `/` between parts, no empty part, no `.` or `..`,
    /// no control, bidi or zero-width character, no backslash, and not only blanks.
    FileKey,
    "read file key",
    check_key
);
name!(
    /// 1..=64 of `a-z 0-9 _ -`, beginning with a letter or digit.
    RuleName,
    "read rule name",
    check_slug
);
name!(
    /// 1..=64 of `a-z 0-9 _ - . @`, beginning with a letter or digit.
    UserName,
    "read user name",
    check_user
);
name!(
    /// A key of labels or metadata: 1..=128 of `a-z A-Z 0-9 _ - . /`.
    LabelKey,
    "read label key",
    check_label
);

impl FileKey {
    /// The part after the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// What follows the last `.` of the file name, in lower case; `None` for `README` and `.profile`.
    pub fn extension(&self) -> Option<String> {
        let (stem, extension) = self.file_name().rsplit_once('.')?;
        if stem.is_empty() || extension.is_empty() { None } else { Some(extension.to_ascii_lowercase()) }
    }
}

fn check_bucket(text: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if !(3..=BUCKET_NAME_BYTES_MAX).contains(&text.len()) {
        return Err(format!("a bucket name has 3 to {BUCKET_NAME_BYTES_MAX} characters"));
    }
    let ends_plain = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !text.bytes().all(inner) || !ends_plain(text.bytes().next()) || !ends_plain(text.bytes().last()) {
        return Err("use a-z, 0-9, '.' and '-', with a letter or digit at both ends".to_owned());
    }
    if text.contains("..") {
        return Err("two dots may not stand together".to_owned());
    }
    Ok(())
}

fn check_key(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > FILE_KEY_BYTES_MAX {
        return Err(format!("a key has 1 to {FILE_KEY_BYTES_MAX} bytes, not {}", text.len()));
    }
    if let Some(c) = text.chars().find(|c| is_barred(*c)) {
        return Err(format!("the character {} is not allowed in a key", c.escape_unicode()));
    }
    for part in text.split('/') {
        match part {
            "" => return Err("parts between '/' may not be empty".to_owned()),
            "." | ".." => return Err("'.' and '..' are not allowed as parts".to_owned()),
            _ => {}
        }
    }
    if text.chars().all(|c| c.is_whitespace() || c == '/') {
        return Err("a key may not consist of blanks only".to_owned());
    }
    Ok(())
}

/// Characters that nobody sees, or that change how others are seen: two keys that look alike would be two files.
fn is_barred(c: char) -> bool {
    let is_zero_width = matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}');
    c.is_control() || is_bidi_control(c) || is_zero_width || c == '\\'
}

fn check_word(text: &str, bytes_max: usize, allowed: impl Fn(u8) -> bool, hint: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > bytes_max {
        return Err(format!("1 to {bytes_max} characters are allowed"));
    }
    if !text.bytes().all(allowed) || !text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("use {hint}, beginning with a letter or digit"));
    }
    Ok(())
}

fn check_slug(text: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    check_word(text, NAME_BYTES_MAX, allowed, "a-z, 0-9, '_' and '-'")
}

fn check_user(text: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.@".contains(&b);
    check_word(text, NAME_BYTES_MAX, allowed, "a-z, 0-9, '_', '-', '.' and '@'")
}

fn check_label(text: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-./".contains(&b);
    check_word(text, LABEL_KEY_BYTES_MAX, allowed, "letters, digits, '_', '-', '.' and '/'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_walk_or_lie_are_refused() {
        for key in
            ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\0b", "a\r\nb", "a\\b", "gpj\u{202e}.exe"]
        {
            assert_eq!(FileKey::parse(key).unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        }
        assert!(FileKey::parse(&"a".repeat(FILE_KEY_BYTES_MAX + 1)).is_err());
        for key in ["a", "2026/orders.csv", "ä/ö ü.txt", "..a", "a..b", "日本.csv"] {
            assert_eq!(FileKey::parse(key).unwrap().as_str(), key);
        }
    }

    #[test]
    fn keys_that_nobody_could_see_are_refused() {
        for key in [
            " ",
            "\u{3000}",
            "\u{a0} ",
            " / ",
            "a\u{200b}",
            "\u{200c}a",
            "a\u{200d}b",
            "a\u{2060}",
            "\u{feff}a",
        ] {
            assert_eq!(FileKey::parse(key).unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        }
        for key in [" a", "a ", "a /b", "a/ b ", "a/ /b"] {
            assert_eq!(FileKey::parse(key).unwrap().as_str(), key);
        }
    }

    #[test]
    fn extension_is_lower_case_and_needs_a_stem() {
        assert_eq!(FileKey::parse("a/B.CSV").unwrap().extension().as_deref(), Some("csv"));
        assert_eq!(FileKey::parse("a/.profile").unwrap().extension(), None);
        assert_eq!(FileKey::parse("README").unwrap().extension(), None);
    }

    #[test]
    fn bucket_names_follow_the_s3_rule() {
        for name in ["abc", "a.b-c", "0ab"] {
            assert!(BucketName::parse(name).is_ok(), "{name}");
        }
        for name in ["ab", "Abc", "-ab", "ab-", "a..b", "a_b", &"a".repeat(64)] {
            assert!(BucketName::parse(name).is_err(), "{name}");
        }
    }
}
