//! Where bearer tokens come from.

use std::fmt;

use async_trait::async_trait;

use crate::ClientError;

/// A JWT or an API key. Prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the `Authorization` header and for the file that keeps it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Hands out the token for the next request, and another one when that was refused.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// `None` sends the request without a credential.
    async fn token(&self) -> Result<Option<Token>, ClientError>;

    /// Called once per call, after a 401. `None`: there is no better token, the 401 stands.
    async fn renew(&self, refused: &Token) -> Result<Option<Token>, ClientError>;
}

/// One token for the life of the client, or none.
#[derive(Debug, Clone, Default)]
pub struct FixedToken(pub Option<Token>);

#[async_trait]
impl TokenSource for FixedToken {
    async fn token(&self) -> Result<Option<Token>, ClientError> {
        Ok(self.0.clone())
    }

    async fn renew(&self, _refused: &Token) -> Result<Option<Token>, ClientError> {
        Ok(None)
    }
}
