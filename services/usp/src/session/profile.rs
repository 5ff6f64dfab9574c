//! The profile: where `usp login` signed in, and the tokens it got. A file that only its owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use usp_client::Token;
use usp_client::types::TokenPair;
use usp_model::{Error, ErrorKind, Timestamp};

use super::variable;

/// Ours has two tokens of at most 8 KiB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Who is signed in where.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) url: String,
    pub(crate) user: String,
    access_token: String,
    refresh_token: String,
    access_expires_at: Timestamp,
}

impl Profile {
    pub(crate) fn new(url: &str, user: &str, pair: &TokenPair, now: Timestamp) -> Self {
        let expires_in_ms = i64::try_from(pair.expires_in().as_millis()).unwrap_or(i64::MAX);
        Self {
            url: url.trim_end_matches('/').to_owned(),
            user: user.to_owned(),
            access_token: pair.access().expose().to_owned(),
            refresh_token: pair.refresh().expose().to_owned(),
            access_expires_at: now.plus_ms(expires_in_ms),
        }
    }

    pub(crate) fn access(&self) -> Token {
        Token::new(self.access_token.clone())
    }

    pub(super) fn refresh(&self) -> Token {
        Token::new(self.refresh_token.clone())
    }

    /// Whether the access token still holds a moment after `now`.
    pub(super) fn holds_at(&self, now: Timestamp) -> bool {
        const MARGIN_MS: i64 = 30_000;
        self.access_expires_at > now.plus_ms(MARGIN_MS)
    }

    pub(super) fn is_for(&self, url: &str) -> bool {
        self.url == url.trim_end_matches('/')
    }

    /// The profile of whoever runs this; `None` before the first login.
    ///
    /// Errors: `InvalidInput` when others can read it, or when it is none of ours.
    pub(crate) fn load() -> Result<Option<Self>> {
        match file_path() {
            Ok(path) => Self::load_from(&path),
            // Without a home there is no profile; an address and a token in the environment will do.
            Err(_homeless) => Ok(None),
        }
    }

    fn load_from(path: &Path) -> Result<Option<Self>> {
        let attributes = match fs::metadata(path) {
            Ok(attributes) => attributes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(source).with_context(|| format!("failed to read {}", path.display())),
        };
        let refused = |reason: &str| {
            let reason = format!("{}: {reason}", path.display());
            Error::new(ErrorKind::InvalidInput, "read the profile").because(reason)
        };
        let mode = attributes.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let reason = format!(
                "its mode {mode:03o} lets others read your tokens; run: chmod 600 it, or log in again"
            );
            return Err(refused(&reason).into());
        }
        if attributes.len() > FILE_BYTES_MAX {
            return Err(refused("it is too long for a profile; log in again").into());
        }
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        // The parser would quote the line, which may hold a token.
        toml::from_str(&text)
            .map(Some)
            .map_err(|_| refused("it is no profile of this version; log in again").into())
    }

    /// Replaces the profile, whole or not at all. Answers where it is.
    pub(crate) fn save(&self) -> Result<PathBuf> {
        let path = file_path()?;
        self.save_to(&path).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }

    fn save_to(&self, path: &Path) -> Result<()> {
        const OWNER_ONLY: u32 = 0o600;
        make_private_dir_of(path)?;
        let temp = path.with_extension(format!("{}.new", std::process::id()));
        let text = toml::to_string(self)?;
        let written = write_new(&temp, OWNER_ONLY, &text).and_then(|()| fs::rename(&temp, path));
        if written.is_err() {
            let _gone = fs::remove_file(&temp);
        }
        Ok(written?)
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}

/// `$XDG_CONFIG_HOME/usp/profile.toml`, or below `~/.config`.
fn file_path() -> Result<PathBuf> {
    // The standard wants relative paths to be ignored.
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config =
        config.or_else(home).context("neither XDG_CONFIG_HOME nor HOME says where a profile belongs")?;
    Ok(config.join("usp").join("profile.toml"))
}

/// The file that is locked while tokens are traded, so that two commands do not use up one refresh token.
pub(super) fn open_lock() -> Result<File> {
    let path = file_path()?.with_extension("lock");
    make_private_dir_of(&path)?;
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    open.with_context(|| format!("failed to open {}", path.display()))
}

fn make_private_dir_of(path: &Path) -> io::Result<()> {
    const OWNER_ONLY: u32 = 0o700;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(dir)
}

fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            url: "http://h:1".to_owned(),
            user: "alice".to_owned(),
            access_token: "canary-a".to_owned(),
            refresh_token: "canary-r".to_owned(),
            access_expires_at: Timestamp::from_unix_ms(100_000),
        }
    }

    #[test]
    fn a_saved_profile_is_private_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usp/profile.toml");
        profile().save_to(&path).unwrap();
        profile().save_to(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let loaded = Profile::load_from(&path).unwrap().unwrap();
        assert_eq!((loaded.user.as_str(), loaded.access().expose()), ("alice", "canary-a"));
        assert!(Profile::load_from(&dir.path().join("absent")).unwrap().is_none());
    }

    #[test]
    fn a_profile_that_others_can_read_or_that_is_broken_is_refused_without_quoting_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profile.toml");
        profile().save_to(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Profile::load_from(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "access_token = 'canary").unwrap();
        let error = format!("{:?}", Profile::load_from(&path).unwrap_err());
        assert!(error.contains("log in again") && !error.contains("canary"), "{error}");
        assert!(!format!("{:?}", profile()).contains("canary"));
    }

    #[test]
    fn a_token_is_only_for_the_address_that_gave_it_and_for_its_time() {
        assert!(profile().is_for("http://h:1/") && !profile().is_for("http://h:2"));
        assert!(profile().holds_at(Timestamp::from_unix_ms(69_999)));
        assert!(!profile().holds_at(Timestamp::from_unix_ms(70_000)));
    }
}
