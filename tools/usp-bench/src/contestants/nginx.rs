//! nginx with WebDAV's PUT: the least that a server can do with a file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::contestant::{About, Contestant, Dialect, Places, Running, Wanted, version_line};
use crate::http::{Answer, Body, Connection, ignore};
use crate::process::{Process, free_address};

#[derive(Debug)]
pub(crate) struct Nginx;

impl Contestant for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn missing(&self, places: &Places) -> Option<String> {
        places.program("nginx").is_none().then(|| "tools/bench-peers.sh nginx".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: places.program("nginx").map_or_else(String::new, |program| version_line(&program, "-v")),
            durability: "none: no sync before the answer",
            settings: "DAV PUT, sendfile, 2 workers, no access log",
        }
    }

    fn start(&self, places: &Places, dir: &Path) -> Result<Running> {
        let storage = dir.join("data");
        fs::create_dir_all(storage.join("files"))?;
        fs::create_dir_all(dir.join("temp"))?;
        let address = free_address()?;
        let config = dir.join("nginx.conf");
        fs::write(&config, config_text(dir, &storage, &address.to_string()))?;
        let mut command = Command::new(places.program("nginx").unwrap_or_else(|| "nginx".into()));
        command.arg("-p").arg(dir).arg("-c").arg(&config).arg("-e").arg(dir.join("error.log"));
        let mut process = Process::start("nginx", &command, dir)?;
        process.wait_for_door(address)?;
        Ok(Running { process, address, storage, dialect: Box::new(Dav) })
    }
}

fn config_text(dir: &Path, storage: &Path, address: &str) -> String {
    let (dir, storage) = (dir.display(), storage.display());
    // Only root may say whom the workers run as.
    let is_root = fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
    let user = if is_root { "user root;" } else { "" };
    format!(
        "daemon off; worker_processes 2; pid {dir}/nginx.pid; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000; keepalive_timeout 120s;
  client_max_body_size 0; client_body_temp_path {dir}/temp; proxy_temp_path {dir}/temp-proxy;
  fastcgi_temp_path {dir}/temp-fastcgi; uwsgi_temp_path {dir}/temp-uwsgi; scgi_temp_path {dir}/temp-scgi;
  server {{
    listen {address} backlog=1024;
    location /files/ {{ root {storage}; dav_methods PUT DELETE; create_full_put_path on; }}
  }}
}}
"
    )
}

#[derive(Debug)]
struct Dav;

impl Dialect for Dav {
    fn put(&self, connection: &mut Connection, key: &str, body: Body<'_>) -> Result<String> {
        let path = format!("/files/{key}");
        connection.ask("PUT", &path, &[], body, &mut ignore)?.expect_success("PUT")?;
        Ok(path)
    }

    fn get(
        &self,
        connection: &mut Connection,
        path: &str,
        wanted: Wanted,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Answer> {
        let [range, coding] = wanted.lines();
        connection.ask("GET", path, &[&range, &coding], Body::None, sink)?.expect_success("GET")
    }
}
