//! The key file: JSON, mode 0600, written once and never changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use usp_model::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use super::SigningKeys;
use crate::SecretText;
use crate::secret::{Secret32, fill_random};

/// Raised when a field is added or changes its meaning.
const FORMAT: u32 = 1;
/// Ours has under 500 bytes; anything larger is not a key file.
const FILE_BYTES_MAX: usize = 16 * 1024;

/// Binary fields are base64url without padding.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: u32,
    ed25519_pkcs8: SecretText,
    cursor_key: SecretText,
    link_key: SecretText,
    node_secret: SecretText,
}

pub(super) enum Created {
    Here,
    /// Another process made the file first.
    Elsewhere,
}

/// The bytes of the file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let fail = |source| failed("read key file", path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(fail(source)),
    };
    // Asked of the open file, not of the name: what was checked is what is read.
    let mode = file.metadata().map_err(fail)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::new(ErrorKind::InvalidInput, "read key file").about(path.display()).because(
            format!(
                "its mode {mode:03o} lets other users touch the keys; run: chmod 600 '{}'",
                path.display()
            ),
        ));
    }
    let mut json = Zeroizing::new(Vec::with_capacity(1024));
    // One byte too many, so that `decode` can tell a long file from a full one.
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut json).map_err(fail)?;
    Ok(Some(json))
}

/// Makes the file, whole or not at all; an existing one stays as it is.
pub(super) fn create(path: &Path, text: &str) -> Result<Created> {
    let fail = |source| failed("create key file", path, source);
    let temp = temp_beside(path)?;
    let linked = write_synced(&temp, text).and_then(|()| fs::hard_link(&temp, path));
    let removed = fs::remove_file(&temp);
    match linked {
        Ok(()) => {}
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => return Ok(Created::Elsewhere),
        Err(source) => return Err(fail(source)),
    }
    removed.map_err(fail)?;
    sync_dir_of(path).map_err(fail)?;
    Ok(Created::Here)
}

pub(super) fn encode(keys: &SigningKeys) -> Result<Zeroizing<String>> {
    let text = serde_json::to_string_pretty(&serde_json::json!({
        "format": FORMAT,
        "ed25519_pkcs8": URL_SAFE_NO_PAD.encode(keys.ed25519_pkcs8()),
        "cursor_key": keys.cursor_key.encode(),
        "link_key": keys.link_key.encode(),
        "node_secret": keys.node_secret.encode(),
    }));
    text.map(Zeroizing::new)
        .map_err(|source| Error::new(ErrorKind::Internal, "write key file").caused_by(source))
}

pub(super) fn decode(path: &Path, json: &[u8]) -> Result<SigningKeys> {
    decode_json(json).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "read key file").about(path.display()).because(
            "it is not a key file of this version of usp; restore it from a backup, \
             or move it away to start with new keys, which ends every session",
        )
    })
}

/// No error says what was wrong: it could carry a piece of a key into a log.
fn decode_json(json: &[u8]) -> Option<SigningKeys> {
    if json.len() > FILE_BYTES_MAX {
        return None;
    }
    let file: KeyFile = serde_json::from_slice(json).ok()?;
    if file.format != FORMAT {
        return None;
    }
    let pkcs8 = Zeroizing::new(URL_SAFE_NO_PAD.decode(file.ed25519_pkcs8.expose()).ok()?);
    let secret = |text: &SecretText| Secret32::decode(text.expose());
    SigningKeys::assemble(
        pkcs8,
        [secret(&file.cursor_key)?, secret(&file.link_key)?, secret(&file.node_secret)?],
    )
}

/// A name that no other start uses, on the same file system. A crash may leave it behind; nothing ever reads it.
fn temp_beside(path: &Path) -> Result<PathBuf> {
    let mut suffix = [0; 8];
    fill_random(&mut suffix)?;
    Ok(path.with_extension(format!("{}.new", hex::encode(suffix))))
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, action)
        .about(path.display())
        .because(source.to_string())
        .caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_private_file_and_the_second_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let first = SigningKeys::load_or_create(&path).unwrap();
        assert_eq!(mode_of(&path), 0o600);
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["keys.json"], "nothing else is left behind");

        let second = SigningKeys::load_or_create(&path).unwrap();
        assert_eq!(second.kid(), first.kid());
        assert_eq!(second.cursor_key(), first.cursor_key());
        assert_eq!(second.link_key(), first.link_key());
        assert!(second.is_node_credential(&first.node_credential()));
        assert_eq!(second.ed25519_pkcs8(), first.ed25519_pkcs8());
    }

    #[test]
    fn a_file_that_others_can_touch_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        SigningKeys::load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o666, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = SigningKeys::load_or_create(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        for mode in [0o400, 0o600] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(SigningKeys::load_or_create(&path).is_ok());
        }
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_corrupt_kept_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        SigningKeys::load_or_create(&path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let broken = [
            String::new(),
            "canary".to_owned(),
            good.replace("\"format\": 1", "\"format\": 2"),
            good.replace("cursor_key", "other_key"),
            good.replacen("\"cursor_key\": \"", "\"cursor_key\": \"canary", 1),
            good.get(..good.len() / 2).unwrap().to_owned(),
            good + &" ".repeat(16 * 1024) + "canary",
        ];
        for bytes in broken.into_iter().map(String::into_bytes).chain([vec![0xff; 64]]) {
            fs::write(&path, &bytes).unwrap();
            let error = SigningKeys::load_or_create(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", String::from_utf8_lossy(&bytes));
            assert!(!error.chain().contains("canary"));
            assert_eq!(fs::read(&path).unwrap(), bytes, "nothing is overwritten");
        }
    }

    #[test]
    fn starts_at_the_same_time_agree_on_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let kids: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| SigningKeys::load_or_create(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap().kid().to_owned()).collect()
        });
        assert!(kids.iter().all(|kid| *kid == kids[0]), "{kids:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_absent_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let error = SigningKeys::load_or_create(&dir.path().join("absent/keys.json")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
