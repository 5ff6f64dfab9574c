//! Tokens of a profile, renewed before they end.
//!
//! A refresh token is good for one use, so trading it is done by one command at a time: the lock is taken, the profile
//! read again (someone else may have renewed it meanwhile), and only then the token is traded and the profile saved.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::Mutex;
use usp_client::{Client, ClientError, Token, TokenSource};
use usp_model::{Error, ErrorKind, Timestamp};

use super::anonymous;
use super::profile::{Profile, open_lock};

const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct ProfileTokens(Mutex<Profile>);

impl ProfileTokens {
    pub(super) fn new(profile: Profile) -> Self {
        Self(Mutex::new(profile))
    }
}

#[async_trait]
impl TokenSource for ProfileTokens {
    async fn token(&self) -> Result<Option<Token>, ClientError> {
        let mut profile = self.0.lock().await;
        if !profile.holds_at(now()) {
            *profile = renewed(&profile).await.map_err(client_error)?;
        }
        Ok(Some(profile.access()))
    }

    async fn renew(&self, refused: &Token) -> Result<Option<Token>, ClientError> {
        let mut profile = self.0.lock().await;
        if profile.access() == *refused {
            *profile = renewed(&profile).await.map_err(client_error)?;
        }
        Ok(Some(profile.access()))
    }
}

/// A profile whose access token is another one than `old` has.
async fn renewed(old: &Profile) -> Result<Profile> {
    let _lock = lock().await?;
    let newest = match newest(old, Profile::load()?) {
        Newest::Saved(current) if current.access() != old.access() && current.holds_at(now()) => {
            return Ok(current);
        }
        newest => newest,
    };
    let (Newest::Saved(base) | Newest::Ours(base)) = &newest;
    let client: Client = anonymous(&old.url)?;
    let pair = client.refresh(&base.refresh()).await?;
    let renewed = Profile::new(&old.url, &old.user, &pair, now());
    if let Newest::Saved(_) = newest {
        renewed.save()?;
    }
    Ok(renewed)
}

/// Whose refresh token is still good.
#[derive(Debug)]
enum Newest {
    /// The profile as it was saved: another command may have renewed it, and then the refresh token of `old` is spent. To
    /// show a spent one ends the whole session.
    Saved(Profile),
    /// Ours, and for this command alone: another login has taken the place of the one that it began with.
    Ours(Profile),
}

fn newest(old: &Profile, saved: Option<Profile>) -> Newest {
    match saved.filter(|saved| saved.is_for(&old.url) && saved.user == old.user) {
        Some(saved) => Newest::Saved(saved),
        None => Newest::Ours(old.clone()),
    }
}

/// Puts a new login in the place of the one before, whatever other commands do meanwhile. Answers where it is.
pub(crate) async fn save_login(profile: &Profile) -> Result<PathBuf> {
    let _lock = lock().await?;
    profile.save()
}

async fn lock() -> Result<File> {
    const PAUSE: Duration = Duration::from_millis(50);
    let file = open_lock()?;
    let begin = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if begin.elapsed() > LOCK_TIMEOUT {
            bail!("another usp has been renewing the session for {} s", LOCK_TIMEOUT.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(file)
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What went wrong, with a word on what to do when the session is over.
fn client_error(error: anyhow::Error) -> ClientError {
    match error.downcast::<ClientError>() {
        Ok(error) if error.kind() == ErrorKind::Unauthenticated => {
            Error::new(ErrorKind::Unauthenticated, "renew the session")
                .because("the session is over; sign in again with `usp login`")
                .into()
        }
        Ok(error) => error,
        Err(error) => {
            Error::new(ErrorKind::Internal, "renew the session").because(format!("{error:#}")).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn profile(url: &str, user: &str, name: &str) -> Profile {
        let pair = json!({
            "access_token": format!("access-{name}"), "refresh_token": format!("refresh-{name}"),
            "token_type": "Bearer", "expires_in": 900,
        });
        Profile::new(url, user, &serde_json::from_value(pair).unwrap(), Timestamp::from_unix_ms(0))
    }

    #[test]
    fn a_token_that_another_command_has_spent_is_not_shown_again() {
        let began = profile("http://a", "alice", "first");
        let Newest::Saved(newest) = newest(&began, Some(profile("http://a", "alice", "second"))) else {
            panic!("the saved profile is of the same login")
        };
        assert_eq!(newest.refresh().expose(), "refresh-second");
    }

    #[test]
    fn another_login_is_left_alone() {
        let began = profile("http://a", "alice", "first");
        for other in [Some(profile("http://b", "alice", "x")), Some(profile("http://a", "bob", "x")), None] {
            let Newest::Ours(ours) = newest(&began, other) else { panic!("that login is another one") };
            assert_eq!(ours.refresh().expose(), "refresh-first");
        }
    }
}
