//! SQLite: how it is opened for the contract, and what it alone has.

mod faults;
mod migrations;
mod opening;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tempfile::TempDir;
use usp_catalog::{Catalog, SqliteCatalog, SqliteConfig};

use crate::contract::Engine;
use crate::contract::world::World;

/// A file in a directory of its own.
#[derive(Clone)]
pub(crate) struct Sqlite {
    dir: Arc<TempDir>,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self { dir: Arc::new(TempDir::new().unwrap()) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("catalog.db")
    }

    /// A connection of its own, to look into tables.
    fn connection(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// The world of the contract over this file.
    async fn world(&self) -> World {
        World::over(Box::new(self.clone())).await
    }
}

#[async_trait]
impl Engine for Sqlite {
    async fn open(&self) -> Arc<dyn Catalog> {
        SqliteCatalog::open(SqliteConfig::new(self.path())).unwrap()
    }

    async fn fresh(&self) -> Box<dyn Engine> {
        Box::new(Self::new())
    }
}
