//! The configuration as it is in force, with where each key comes from.

use std::fmt::Write as _;

use serde_json::json;
use toml::{Table, Value};
use usp_model::{Error, ErrorKind, Result};

use super::{Config, Key, Loaded};

/// As a TOML file that can be read again, secrets excepted: they stand in comments as `[redacted]`.
pub(crate) fn as_toml(loaded: &Loaded) -> Result<String> {
    let table = table(loaded)?;
    let mut out = String::new();
    let mut section = "";
    for key in Config::keys() {
        if key.section != section {
            section = key.section;
            let _ = write!(out, "\n[{section}]\n");
        }
        for line in key.doc {
            let _ = writeln!(out, "#{line}");
        }
        let origin = loaded.origin(&key.path());
        let _ = match value_of(&table, key) {
            None => writeln!(out, "# {} is not set", key.name),
            Some(value) if has_secret(key) && *origin != super::Origin::Default => {
                writeln!(out, "# {} = {value}    # {origin}", key.name)
            }
            Some(value) => writeln!(out, "{} = {value}    # {origin}", key.name),
        };
    }
    Ok(out)
}

/// Key → value and origin.
pub(crate) fn as_json(loaded: &Loaded) -> Result<serde_json::Value> {
    let table = table(loaded)?;
    let entries = Config::keys().map(|key| {
        let path = key.path();
        let origin = loaded.origin(&path).to_string();
        (path, json!({"value": value_of(&table, key), "origin": origin}))
    });
    Ok(serde_json::Value::Object(entries.collect()))
}

fn table(loaded: &Loaded) -> Result<Table> {
    Table::try_from(&loaded.config)
        .map_err(|source| Error::new(ErrorKind::Internal, "print the configuration").caused_by(source))
}

fn value_of<'a>(table: &'a Table, key: &Key) -> Option<&'a Value> {
    match key.section {
        "" => table.get(key.name),
        section => table.get(section)?.get(key.name),
    }
}

/// Whether what is printed is not what was set.
fn has_secret(key: &Key) -> bool {
    key.is_secret() || key.path() == "auth.trusted"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn loaded(entries: &[(&str, &str)]) -> Loaded {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = entries.iter().map(own).collect();
        Sources { environment, ..Sources::default() }.load_unchecked().unwrap()
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_configuration() {
        let first =
            loaded(&[("USP__GATEWAY__HTTP", "0.0.0.0:80"), ("USP__STORAGE__NODE_SECRET", "canary-3")]);
        let text = as_toml(&first).unwrap();
        assert!(text.contains("http = \"0.0.0.0:80\"    # USP__GATEWAY__HTTP"), "{text}");
        assert!(text.contains("# node_secret = \"[redacted]\""), "{text}");
        assert!(text.contains("# node_listen is not set"), "{text}");
        assert!(!text.contains("canary"));
        let mut again: Config = toml::from_str(&text).unwrap();
        again.storage.node_secret = first.config.storage.node_secret.clone();
        assert_eq!(format!("{again:?}"), format!("{:?}", first.config));
    }

    #[test]
    fn every_key_that_the_types_have_is_declared_and_described() {
        let table = Table::try_from(Config::default()).unwrap();
        for (name, value) in &table {
            match value {
                Value::Table(section) => {
                    for key in section.keys() {
                        assert!(
                            Config::keys().any(|known| known.section == name && known.name == key),
                            "{name}.{key}"
                        );
                    }
                }
                _ => assert!(
                    Config::keys().any(|known| known.section.is_empty() && known.name == name),
                    "{name}"
                ),
            }
        }
        assert!(Config::keys().all(|key| !key.doc.is_empty()));
    }

    #[test]
    fn json_has_every_key_with_its_origin() {
        let json = as_json(&loaded(&[("USP__LOG__FORMAT", "json")])).unwrap();
        assert_eq!(json["log.format"], json!({"value": "json", "origin": "USP__LOG__FORMAT"}));
        assert_eq!(json["storage.url"], json!({"value": null, "origin": "default"}));
    }
}
