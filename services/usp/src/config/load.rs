//! From flags, environment and files to one `Config`, with all that is wrong said at once.
//!
//! Each key that someone set is read on its own, so that a bad value names its place and hides no other problem; where
//! several set the same key, the strongest source wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use usp_model::error::printable;
use usp_model::{Error, ErrorKind, Result, Violation};

use super::nearest::nearest;
use super::{Config, invalid, read_secret};

/// What starts every variable of ours that sets a key.
const PREFIX: &str = "USP__";
/// Names the configuration file where no flag does.
const FILE_VARIABLE: &str = "USP_CONFIG";
/// Short for `USP__LOG__FILTER`, and stronger.
const LOG_VARIABLE: &str = "USP_LOG";
/// Read if it stands in the data directory.
const DATA_DIR_FILE: &str = "usp.toml";
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a configuration is read from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// `--config`
    pub(crate) file: Option<PathBuf>,
    /// Key (`gateway.http`), flag (`--http`) and value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
    pub(crate) environment: Vec<(String, String)>,
}

/// Who set a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A configuration, and where each of its keys comes from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    pub(crate) fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }
}

/// One key that someone set.
struct Setting {
    /// `gateway.http`
    path: String,
    /// What the value may mean, most literal first: text of flags and the environment has no types.
    readings: Vec<Value>,
    origin: Origin,
}

impl Sources {
    /// The environment of this process. Names and values that are no UTF-8 are none of ours.
    pub(crate) fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { environment: std::env::vars_os().filter_map(text).collect(), ..Self::default() }
    }

    /// Sets a key from a flag, if the flag was given.
    #[must_use]
    pub(crate) fn with_flag(mut self, key: &'static str, flag: &'static str, value: Option<String>) -> Self {
        self.flags.extend(value.map(|value| (key, flag, value)));
        self
    }

    /// Reads and checks. Errors: `InvalidInput` with every problem of every source.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let loaded = self.load_unchecked()?;
        let violations = loaded.config.problems();
        if violations.is_empty() { Ok(loaded) } else { Err(invalid(violations)) }
    }

    /// Reads without asking whether the values fit together, so that they can be shown.
    pub(crate) fn load_unchecked(&self) -> Result<Loaded> {
        let mut problems = Vec::new();
        let mut settings = Vec::new();
        if let Some(path) = self.file.clone().or_else(|| self.variable(FILE_VARIABLE).map(PathBuf::from)) {
            settings.extend(settings_of_file(&path)?);
        }
        settings.extend(self.environment_settings());
        settings.extend(self.flag_settings());
        let in_data_dir = data_dir_of(&settings).join(DATA_DIR_FILE);
        if in_data_dir.exists() {
            let (own, misplaced): (Vec<_>, Vec<_>) =
                settings_of_file(&in_data_dir)?.into_iter().partition(|setting| setting.path != "data_dir");
            problems.extend(misplaced.iter().map(|setting| {
                setting.problem(
                    "this file is found through data_dir and cannot move it; use --config or the flag",
                )
            }));
            settings.splice(0..0, own);
        }
        merge(settings, problems)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn environment_settings(&self) -> impl Iterator<Item = Setting> {
        let of_key = |(name, value): &(String, String)| {
            let path = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", ".");
            Some(Setting { path, readings: readings(value), origin: Origin::Environment(name.clone()) })
        };
        let log = self.variable(LOG_VARIABLE).map(|filter| Setting {
            path: "log.filter".to_owned(),
            readings: vec![Value::String(filter.to_owned())],
            origin: Origin::Environment(LOG_VARIABLE.to_owned()),
        });
        self.environment.iter().filter_map(of_key).chain(log)
    }

    fn flag_settings(&self) -> impl Iterator<Item = Setting> {
        self.flags.iter().map(|(path, flag, value)| Setting {
            path: (*path).to_owned(),
            readings: readings(value),
            origin: Origin::Flag(flag),
        })
    }
}

impl Setting {
    fn problem(&self, detail: impl fmt::Display) -> Violation {
        let pointer = format!("/{}", printable(&self.path).replace('.', "/"));
        Violation::new(pointer, format!("{detail} ({})", self.origin))
    }

    /// The value in its own type, whole in a table as a file would have it.
    fn read(&self, is_secret: bool) -> Result<Table, Violation> {
        let mut refusal = None;
        for value in &self.readings {
            let value = with_key_files(&self.path, value.clone()).map_err(|error| self.problem(error))?;
            let table = nest(&self.path, value);
            match table.clone().try_into::<Config>() {
                Ok(_) => return Ok(table),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        // What could not be read as a secret may still be one.
        Err(match refusal {
            Some(error) if !is_secret => self.problem(error.message()),
            _ => self.problem("a text is expected"),
        })
    }
}

fn merge(settings: Vec<Setting>, mut problems: Vec<Violation>) -> Result<Loaded> {
    let mut merged = Table::new();
    let mut origins = BTreeMap::new();
    for setting in settings {
        let Some(key) = Config::keys().find(|key| key.path() == setting.path) else {
            problems.push(setting.problem(unknown_key(&setting.path)));
            continue;
        };
        match setting.read(key.is_secret()) {
            Ok(table) => {
                overlay(&mut merged, table);
                origins.insert(setting.path, setting.origin);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    let config = merged.try_into::<Config>().map_err(|source| {
        Error::new(ErrorKind::Internal, "read the configuration").because(source.message().to_owned())
    })?;
    Ok(Loaded { config, origins })
}

fn unknown_key(path: &str) -> String {
    let known: Vec<String> = Config::keys().map(super::Key::path).collect();
    match nearest(path, known.iter().map(String::as_str)) {
        Some(meant) => format!("there is no such key; did you mean {meant}?"),
        None => "there is no such key; `usp config print` shows all".to_owned(),
    }
}

/// What a text without a type may mean: itself, a TOML value, a list with commas.
fn readings(text: &str) -> Vec<Value> {
    let mut readings = vec![Value::String(text.to_owned())];
    let document = toml::from_str::<Table>(&format!("value = {text}"));
    // More than one key means that the text broke out of its place.
    readings
        .extend(document.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value")));
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    readings.push(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()));
    readings
}

fn settings_of_file(path: &Path) -> Result<Vec<Setting>> {
    let refused = |reason: String| {
        Error::new(ErrorKind::InvalidInput, "read the configuration")
            .because(format!("{}: {reason}", path.display()))
    };
    let size_bytes = std::fs::metadata(path).map_err(|source| refused(source.to_string()))?.len();
    if size_bytes > FILE_BYTES_MAX {
        return Err(refused(format!(
            "{size_bytes} bytes are too many; a configuration has at most {FILE_BYTES_MAX}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|source| refused(source.to_string()))?;
    let table: Table =
        toml::from_str(&text).map_err(|source| refused(source.to_string().trim_end().to_owned()))?;
    let mut settings = Vec::new();
    let mut add = |path_in_file: String, value: Value| {
        let origin = Origin::File(path.to_owned());
        settings.push(Setting { path: path_in_file, readings: vec![value], origin });
    };
    for (name, value) in table {
        match value {
            Value::Table(section) => {
                for (key, value) in section {
                    add(format!("{name}.{key}"), value);
                }
            }
            value => add(name, value),
        }
    }
    Ok(settings)
}

/// The strongest word on where the data directory is.
fn data_dir_of(settings: &[Setting]) -> PathBuf {
    let set = settings.iter().rev().find(|setting| setting.path == "data_dir");
    let text = set.and_then(|setting| setting.readings.first()).and_then(Value::as_str);
    text.map_or_else(|| Config::default().data_dir, PathBuf::from)
}

/// Puts the content of each `key_file` of a trusted issuer in the place of `key`.
fn with_key_files(path: &str, mut value: Value) -> Result<Value, String> {
    if path != "auth.trusted" {
        return Ok(value);
    }
    for trusted in value.as_array_mut().into_iter().flatten().filter_map(Value::as_table_mut) {
        let Some(file) = trusted.remove("key_file") else { continue };
        let file = file.as_str().ok_or("key_file: a path is expected")?;
        let key = read_secret(Path::new(file)).map_err(|error| error.detail())?;
        if trusted.insert("key".to_owned(), Value::String(key.expose().to_owned())).is_some() {
            return Err("key and key_file together are one too many".to_owned());
        }
    }
    Ok(value)
}

fn nest(path: &str, value: Value) -> Table {
    match path.split_once('.') {
        None => Table::from_iter([(path.to_owned(), value)]),
        Some((section, key)) => {
            let inner = Table::from_iter([(key.to_owned(), value)]);
            Table::from_iter([(section.to_owned(), Value::Table(inner))])
        }
    }
}

fn overlay(below: &mut Table, above: Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(section)) => below.extend(section),
            (_, value) => {
                below.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{ByteSize, Role};

    fn environment(entries: &[(&str, &str)]) -> Sources {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        // A data directory of its own, so that ./data of whoever runs the tests is not read.
        let elsewhere = ("USP__DATA_DIR".to_owned(), "/nonexistent".to_owned());
        let environment = [elsewhere].into_iter().chain(entries.iter().map(own)).collect();
        Sources { environment, ..Sources::default() }
    }

    fn problems(sources: &Sources) -> Vec<String> {
        let error = sources.load().unwrap_err();
        error.violations().iter().map(super::super::sentence).collect()
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_data_dir_beats_default() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("named.toml");
        let ports = |ports: [u16; 4]| {
            let [http, grpc, per_address, pool] = ports;
            format!(
                "[gateway]\nhttp = '127.0.0.1:{http}'\ngrpc = '127.0.0.1:{grpc}'\n\
                 connection_count_max_per_address = {per_address}\nconnection_count_max = {pool}\n"
            )
        };
        fs::write(dir.path().join("usp.toml"), ports([1, 1, 1, 1])).unwrap();
        fs::write(&file, ports([2, 2, 2, 0]).replace("connection_count_max = 0\n", "")).unwrap();
        let sources = Sources {
            file: Some(file.clone()),
            environment: vec![
                ("USP__DATA_DIR".to_owned(), dir.path().display().to_string()),
                ("USP__GATEWAY__HTTP".to_owned(), "127.0.0.1:3".to_owned()),
                ("USP__GATEWAY__GRPC".to_owned(), "127.0.0.1:3".to_owned()),
                ("OTHER".to_owned(), "x".to_owned()),
            ],
            ..Sources::default()
        }
        .with_flag("gateway.http", "--http", Some("127.0.0.1:4".to_owned()))
        .with_flag("gateway.grpc", "--grpc", None);
        let loaded = sources.load().unwrap();
        let gateway = &loaded.config.gateway;
        assert_eq!((gateway.http.port(), gateway.grpc.port()), (4, 3));
        assert_eq!((gateway.connection_count_max_per_address, gateway.connection_count_max), (2, 1));
        assert_eq!(*loaded.origin("gateway.http"), Origin::Flag("--http"));
        assert_eq!(*loaded.origin("gateway.grpc"), Origin::Environment("USP__GATEWAY__GRPC".to_owned()));
        assert_eq!(*loaded.origin("gateway.connection_count_max_per_address"), Origin::File(file));
        assert_eq!(*loaded.origin("gateway.idle_timeout"), Origin::Default);
    }

    #[test]
    fn variables_take_the_type_of_their_key() {
        let loaded = environment(&[
            ("USP__ROLES", "storage, processor"),
            ("USP__STORAGE__MEMORY_BUDGET", "1GiB"),
            ("USP__STORAGE__CHECKPOINT_SIZE", "33554432"),
            ("USP__GATEWAY__METRICS_PUBLIC", "true"),
            ("USP__GATEWAY__CORS_ORIGINS", "https://a.example,https://b.example"),
            ("USP__GATEWAY__RATE_SIGN_IN", "{ per_second = 2, burst = 3 }"),
            ("USP__PROCESSOR__CONCURRENCY", "3"),
            ("USP__AUTH__ISSUER", "12345"),
            ("USP_LOG", "debug"),
            ("USP__LOG__FILTER", "warn"),
        ])
        .load()
        .unwrap();
        let config = loaded.config;
        assert_eq!(config.roles, [Role::Storage, Role::Processor]);
        assert_eq!(config.storage.memory_budget, ByteSize(1 << 30));
        assert_eq!(config.storage.checkpoint_size, ByteSize(32 << 20));
        assert!(config.gateway.metrics_public);
        assert_eq!(config.gateway.cors_origins, ["https://a.example", "https://b.example"]);
        assert_eq!(config.gateway.rate_sign_in.burst, 3);
        assert_eq!(config.log.filter, "debug");
        assert_eq!((config.processor.concurrency, config.auth.issuer.as_str()), (3, "12345"));
    }

    #[test]
    fn unknown_keys_and_bad_values_are_all_named_with_their_source() {
        let found = problems(&environment(&[
            ("USP__GATEWAY__HTPP", "127.0.0.1:1"),
            ("USP__NOTHING__LIKE_IT", "1"),
            ("USP__HTTP", "x"),
            ("USP__GATEWAY__GRPC", "everywhere"),
            ("USP__STORAGE__LEASE_TIME", "30"),
            ("USP__ROLES", "storage,manager"),
        ]));
        let text = found.join("\n");
        assert_eq!(found.len(), 6, "{text}");
        for part in [
            "gateway.htpp: there is no such key; did you mean gateway.http? (USP__GATEWAY__HTPP)",
            "nothing.like_it: there is no such key; `usp config print` shows all",
            "http: there is no such key; did you mean gateway.http?",
            "gateway.grpc: ",
            "'30' is not a duration such as 500ms, 10s or 1h30m (USP__STORAGE__LEASE_TIME)",
            "'manager' is not one of: gateway, storage, processor (USP__ROLES)",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_file_that_is_no_toml_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        fs::write(&path, "[gateway]\nhttp = \n").unwrap();
        let error = Sources { file: Some(path), ..environment(&[]) }.load().unwrap_err();
        assert!(error.to_string().contains("c.toml") && error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn the_file_in_the_data_directory_cannot_move_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("usp.toml"), "data_dir = '/elsewhere'\n").unwrap();
        let data_dir = dir.path().display().to_string();
        let found = problems(&environment(&[("USP__DATA_DIR", &data_dir)]));
        assert!(found.join("\n").contains("data_dir: this file is found through data_dir"), "{found:?}");
    }

    #[test]
    fn secrets_come_from_files_and_are_never_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let secret = format!("canary-{}", "2".repeat(32));
        fs::write(&path, format!("{secret}\n")).unwrap();
        let path = path.display().to_string();
        let config = environment(&[("USP__STORAGE__NODE_SECRET_FILE", &path)]).load().unwrap().config;
        assert_eq!(config.node_secret().unwrap().unwrap().expose(), secret);

        fs::write(&path, "canary-2\n").unwrap();
        let issuer =
            format!("[{{ issuer = 'i', audience = 'a', algorithm = 'HS256', key_file = '{path}' }}]");
        let found = problems(&environment(&[("USP__AUTH__TRUSTED", &issuer)]));
        assert!(found.join("\n").contains("an HS256 secret has at least 32 bytes"), "{found:?}");
        assert!(!found.join("\n").contains("canary"));
    }

    #[test]
    fn text_of_the_environment_cannot_set_a_second_key() {
        let found = problems(&environment(&[("USP__PROCESSOR__CONCURRENCY", "3\nworker = 'x'")]));
        assert_eq!(found.len(), 1);
    }
}
