//! What a server that is ready says on standard output: one line for scripts, and for people where to go next.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result};

/// What this process serves.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) http: Option<SocketAddr>,
    pub(super) grpc: Option<SocketAddr>,
    pub(super) node: Option<SocketAddr>,
    pub(super) probe: Option<SocketAddr>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) worker: Option<String>,
}

impl Ready {
    /// Prints `ready http=ADDR grpc=ADDR` with what applies; where to go next, if a person may be reading.
    pub(super) fn print(&self, is_first_start: bool) -> Result<()> {
        let mut text = self.line();
        text.push('\n');
        if let Some(http) = self.http
            && (is_first_start || std::io::stdout().is_terminal())
        {
            text.push_str(&next_steps(http));
        }
        write(&text)
    }

    fn line(&self) -> String {
        let mut line = "ready".to_owned();
        let served = [
            ("http", self.http),
            ("grpc", self.grpc),
            ("node", self.node),
            ("probe", self.probe),
            ("metrics", self.metrics),
        ];
        for (name, address) in served {
            if let Some(address) = address {
                line.push_str(&format!(" {name}={address}"));
            }
        }
        if let (Some(worker), None) = (&self.worker, self.http) {
            line.push_str(&format!(" worker={worker}"));
        }
        line
    }
}

/// Shows the first administrator's password, at once: whatever fails later in the start, it was seen.
pub(super) fn print_password(password: &str) -> Result<()> {
    write(&format!(
        "First start. Sign in as 'admin' with this password; it is not shown again:\n\n  admin password: {password}\n\n"
    ))
}

fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("failed to write to standard output")
}

fn next_steps(http: SocketAddr) -> String {
    format!(
        "\nAPI documentation: http://{http}/docs\nIn another terminal:\n\n  usp login http://{http} --user admin\n  \
         usp put some.csv --wait\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_what_is_served() {
        let address = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let whole =
            Ready { http: address(1), grpc: address(2), worker: Some("w".to_owned()), ..Ready::default() };
        assert_eq!(whole.line(), "ready http=127.0.0.1:1 grpc=127.0.0.1:2");
        let storage = Ready { node: address(3), probe: address(4), ..Ready::default() };
        assert_eq!(storage.line(), "ready node=127.0.0.1:3 probe=127.0.0.1:4");
        let processor = Ready { worker: Some("w".to_owned()), ..Ready::default() };
        assert_eq!(processor.line(), "ready worker=w");
    }
}
