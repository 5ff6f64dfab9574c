//! Accounts: what a change of a user ends, when a use of a key is noted, what a refresh token is good for.

use usp_model::{Grant, Timestamp, User, UserName};

/// A key in use is noted once a minute, not with every request.
const TOUCH_MS: i64 = 60_000;

/// What changes of a user; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserPatch {
    pub password_hash: Option<String>,
    pub grants: Option<Vec<Grant>>,
    pub disabled: Option<bool>,
}

/// A user as a patch leaves it.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchedUser {
    pub user: User,
    pub password_hash: Option<String>,
    /// All refresh tokens of the user end: whoever has one does not know the new password, or may not come in at all.
    pub ends_sessions: bool,
}

/// A user as it is made.
pub fn new_user(name: UserName, grants: Vec<Grant>, at: Timestamp) -> User {
    User { name, grants, disabled: false, created_at: at, updated_at: at }
}

/// What a patch makes of a user.
pub fn patched(user: User, password_hash: Option<String>, patch: UserPatch, at: Timestamp) -> PatchedUser {
    let ends_sessions = patch.password_hash.is_some() || patch.disabled == Some(true);
    let user = User {
        grants: patch.grants.unwrap_or(user.grants),
        disabled: patch.disabled.unwrap_or(user.disabled),
        updated_at: at,
        ..user
    };
    PatchedUser { user, password_hash: patch.password_hash.or(password_hash), ends_sessions }
}

/// Whether the last use of a key on record is so old that another is worth a write.
pub fn wants_touch(last_used_at: Option<Timestamp>, at: Timestamp) -> bool {
    last_used_at.is_none_or(|last| last.unix_ms().saturating_add(TOUCH_MS) <= at.unix_ms())
}

/// The last use of a key, after one at `at`. `None`: a later one is on record already.
pub fn touched(last_used_at: Option<Timestamp>, at: Timestamp) -> Option<Timestamp> {
    last_used_at.is_none_or(|last| last < at).then_some(at)
}

/// A refresh token on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// All tokens that descend from one login.
    pub family: [u8; 16],
    pub user: UserName,
    pub is_used: bool,
    pub expires_at: Timestamp,
}

/// What presenting a refresh token comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotate {
    /// Unknown, or its time is over.
    Refused,
    /// It was used before: it was stolen, or its successor was. Every token of the family is deleted.
    EndFamily([u8; 16]),
    /// It is used from now on, and another of the family takes its place.
    Succeed { family: [u8; 16], user: UserName },
}

/// What a token is good for that someone presents.
pub fn rotate(token: Option<RefreshToken>, at: Timestamp) -> Rotate {
    match token {
        None => Rotate::Refused,
        Some(token) if token.expires_at <= last_expiry_that_is_over(at) => Rotate::Refused,
        Some(RefreshToken { family, is_used: true, .. }) => Rotate::EndFamily(family),
        Some(RefreshToken { family, user, .. }) => Rotate::Succeed { family, user },
    }
}

/// Tokens that expire at this time or earlier are good for nothing, and may be forgotten.
pub fn last_expiry_that_is_over(at: Timestamp) -> Timestamp {
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn name() -> UserName {
        UserName::parse("alice").unwrap()
    }

    fn user(disabled: bool) -> User {
        User { disabled, ..new_user(name(), Vec::new(), at(1)) }
    }

    fn grant() -> Grant {
        Grant { bucket: None, role: usp_model::Role::Reader }
    }

    #[test]
    fn a_new_user_may_come_in() {
        let user = new_user(name(), vec![grant()], at(5));
        assert!(!user.disabled);
        assert_eq!((user.created_at, user.updated_at, user.grants), (at(5), at(5), vec![grant()]));
    }

    #[test]
    fn a_new_password_and_being_disabled_end_sessions_and_nothing_else_does() {
        let password = |text: &str| Some(text.to_owned());
        let patch = |password_hash, grants, disabled| UserPatch { password_hash, grants, disabled };
        // Patch, disabled before; then: password, grants, disabled, ends sessions.
        let cases = [
            (patch(None, None, None), false, "old", 0, false, false),
            (patch(None, None, None), true, "old", 0, true, false),
            (patch(password("new"), None, None), false, "new", 0, false, true),
            (patch(None, Some(vec![grant()]), None), false, "old", 1, false, false),
            (patch(None, None, Some(true)), false, "old", 0, true, true),
            (patch(None, None, Some(true)), true, "old", 0, true, true),
            (patch(None, None, Some(false)), true, "old", 0, false, false),
            (patch(password("new"), Some(vec![grant()]), Some(false)), true, "new", 1, false, true),
        ];
        for (patch, was_disabled, hash, grant_count, disabled, ends_sessions) in cases {
            let now = patched(user(was_disabled), password("old"), patch.clone(), at(9));
            let found = (now.password_hash.as_deref(), now.user.grants.len(), now.user.disabled);
            assert_eq!(found, (Some(hash), grant_count, disabled), "{patch:?}");
            assert_eq!(now.ends_sessions, ends_sessions, "{patch:?}");
            assert_eq!((now.user.created_at, now.user.updated_at), (at(1), at(9)));
        }
    }

    #[test]
    fn a_use_is_worth_a_write_once_a_minute() {
        let cases = [
            (None, true),
            (Some(NOW_MS - 60_001), true),
            (Some(NOW_MS - 60_000), true),
            (Some(NOW_MS - 59_999), false),
            (Some(NOW_MS), false),
            (Some(NOW_MS + 60_000), false),
        ];
        for (last, expected) in cases {
            assert_eq!(wants_touch(last.map(at), at(NOW_MS)), expected, "{last:?}");
        }
    }

    #[test]
    fn the_last_use_on_record_only_rises() {
        let cases =
            [(None, true), (Some(NOW_MS - 1), true), (Some(NOW_MS), false), (Some(NOW_MS + 1), false)];
        for (last, is_noted) in cases {
            assert_eq!(touched(last.map(at), at(NOW_MS)), is_noted.then_some(at(NOW_MS)), "{last:?}");
        }
    }

    #[test]
    fn a_token_is_good_once_and_before_its_end() {
        let family = [7; 16];
        let token = |is_used, ms| Some(RefreshToken { family, user: name(), is_used, expires_at: at(ms) });
        let next = Rotate::Succeed { family, user: name() };
        let cases = [
            (None, Rotate::Refused),
            (token(false, NOW_MS - 1), Rotate::Refused),
            (token(false, NOW_MS), Rotate::Refused),
            (token(false, NOW_MS + 1), next),
            (token(true, NOW_MS), Rotate::Refused),
            (token(true, NOW_MS + 1), Rotate::EndFamily(family)),
        ];
        for (token, expected) in cases {
            assert_eq!(rotate(token.clone(), at(NOW_MS)), expected, "{token:?}");
        }
    }

    #[test]
    fn only_tokens_that_are_good_for_nothing_are_forgotten() {
        for ms in [NOW_MS - 1, NOW_MS, NOW_MS + 1] {
            let token = RefreshToken { family: [7; 16], user: name(), is_used: false, expires_at: at(ms) };
            let is_forgotten = at(ms) <= last_expiry_that_is_over(at(NOW_MS));
            assert_eq!(is_forgotten, rotate(Some(token), at(NOW_MS)) == Rotate::Refused, "{ms}");
            assert_eq!(is_forgotten, ms <= NOW_MS);
        }
    }
}
