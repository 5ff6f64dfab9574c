//! The shapes of REST's JSON. They are the public contract; model types stay free to change behind them.

pub(crate) mod admin;
pub(crate) mod bucket;
pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod queue;
pub(crate) mod rule;
pub(crate) mod run;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod words;

use serde::Serialize;
use utoipa::ToSchema;

/// A list that is whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

impl<T> Items<T> {
    pub(crate) fn of<M>(models: Vec<M>) -> Self
    where
        T: From<M>,
    {
        Self { items: models.into_iter().map(T::from).collect() }
    }
}
