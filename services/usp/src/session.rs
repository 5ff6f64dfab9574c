//! How a command reaches a server: which address, with which credential.

mod profile;
mod tokens;

use std::sync::Arc;

use anyhow::{Context, Result};
use usp_client::{Client, ClientConfig, FixedToken, Token, TokenSource};

use crate::output::Output;
pub(crate) use profile::Profile;
use tokens::ProfileTokens;
pub(crate) use tokens::{now, save_login};

/// Where a server on this machine listens by default.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:8080";

const URL_VARIABLE: &str = "USP_URL";
const TOKEN_VARIABLE: &str = "USP_TOKEN";
const TOKEN_FILE_VARIABLE: &str = "USP_TOKEN_FILE";

/// What every command that talks to a server or a person holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) output: Output,
    /// `--url`
    pub(crate) url: Option<String>,
}

impl Session {
    /// A client for the address and the credential that hold now.
    ///
    /// Address: `--url`, `USP_URL`, the profile, this machine. Credential: `USP_TOKEN`, `USP_TOKEN_FILE`, the profile;
    /// the profile's only for the address that it was given by, so that no other server ever sees it.
    pub(crate) fn client(&self) -> Result<Client> {
        let named = self.url.clone().or_else(|| variable(URL_VARIABLE));
        let token = token_of_environment()?;
        if let (Some(url), Some(token)) = (&named, &token) {
            return Ok(Client::new(ClientConfig { token: Some(token.clone()), ..config(url.clone()) })?);
        }
        let profile = Profile::load()?;
        let url = named.or_else(|| profile.as_ref().map(|profile| profile.url.clone()));
        let url = url.unwrap_or_else(|| URL_DEFAULT.to_owned());
        let tokens: Arc<dyn TokenSource> = match (token, profile) {
            (None, Some(profile)) if profile.is_for(&url) => Arc::new(ProfileTokens::new(profile)),
            (token, _) => Arc::new(FixedToken(token)),
        };
        Ok(Client::with_tokens(config(url), tokens)?)
    }
}

/// A client without a credential, to get one.
pub(crate) fn anonymous(url: &str) -> Result<Client> {
    Ok(Client::new(config(url.to_owned()))?)
}

fn config(url: String) -> ClientConfig {
    ClientConfig { url, token: None, user_agent: concat!("usp/", env!("CARGO_PKG_VERSION")).to_owned() }
}

/// A variable that says something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn token_of_environment() -> Result<Option<Token>> {
    if let Some(token) = variable(TOKEN_VARIABLE) {
        return Ok(Some(Token::new(token.trim())));
    }
    let Some(path) = variable(TOKEN_FILE_VARIABLE) else { return Ok(None) };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("failed to read {path}, which {TOKEN_FILE_VARIABLE} names"))?;
    Ok(Some(Token::new(text.trim())))
}
