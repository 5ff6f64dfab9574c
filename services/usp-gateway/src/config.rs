//! The settings of the doors.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use usp_model::Violation;

/// Sets addresses, limits and trust of the doors. [`Self::violations`] checks it.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// REST, events, health, metrics, documentation.
    pub http: SocketAddr,
    /// Public gRPC.
    pub grpc: SocketAddr,
    /// Open connections over both doors; more wait in the kernel's backlog.
    pub connection_count_max: usize,
    /// The same for one address; for IPv6, one /64 network.
    pub connection_count_max_per_address: usize,
    /// From the accept to the end of the request headers.
    pub header_timeout: Duration,
    /// Between two requests of a kept connection.
    pub idle_timeout: Duration,
    /// A body slower than this after `body_grace` is cut off.
    pub body_rate_bytes_per_s_min: u64,
    /// Waiting time that a body has before its rate counts; also the longest pause between two pieces.
    pub body_grace: Duration,
    /// Requests per second and burst, for each signed-in caller.
    pub rate_per_principal: Rate,
    /// The same for each address, signed in or not.
    pub rate_per_address: Rate,
    /// Tries to sign in, per address and per user name.
    pub rate_sign_in: Rate,
    /// Origins such as `https://app.example.com`; empty: no cross-origin requests.
    pub cors_origins: Vec<String>,
    /// Only the `X-Forwarded-For` of these peers is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a verified credential is believed without asking again. At most 5 s, so that a revocation acts by then.
    pub credential_cache: Duration,
    /// On stop: how long running requests may take to end.
    pub drain_timeout: Duration,
    /// Serves `/metrics` without a token; otherwise it takes an admin's.
    pub metrics_public: bool,
}

/// Bounds how often something may happen. Shape: both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            grpc: SocketAddr::from(([127, 0, 0, 1], 50051)),
            connection_count_max: 4096,
            connection_count_max_per_address: 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_rate_bytes_per_s_min: 1024,
            body_grace: Duration::from_secs(30),
            rate_per_principal: Rate { per_second: 20_000, burst: 40_000 },
            rate_per_address: Rate { per_second: 20_000, burst: 40_000 },
            rate_sign_in: Rate { per_second: 1, burst: 10 },
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            credential_cache: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            metrics_public: false,
        }
    }
}

impl GatewayConfig {
    /// Lists everything that is wrong with the settings, with pointers into the `[gateway]` section.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let rates = [
            ("rate_per_principal", self.rate_per_principal),
            ("rate_per_address", self.rate_per_address),
            ("rate_sign_in", self.rate_sign_in),
        ];
        for (name, rate) in rates {
            if rate.per_second == 0 || rate.burst == 0 {
                found.push(Violation::new(
                    format!("/gateway/{name}"),
                    "per_second and burst must be at least 1",
                ));
            }
        }
        if self.credential_cache > Duration::from_secs(5) {
            found.push(Violation::new(
                "/gateway/credential_cache",
                "at most 5 s, so that a revocation acts by then",
            ));
        }
        let counts = [
            ("connection_count_max", self.connection_count_max),
            ("connection_count_max_per_address", self.connection_count_max_per_address),
        ];
        for (name, _) in counts.iter().filter(|(_, count)| *count == 0) {
            found.push(Violation::new(format!("/gateway/{name}"), "at least 1"));
        }
        for (index, origin) in self.cors_origins.iter().enumerate() {
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['/', '*', '?', '#', '@'])) {
                let detail = "an explicit origin such as https://app.example.com is needed";
                found.push(Violation::new(format!("/gateway/cors_origins/{index}"), detail));
            }
        }
        found
    }
}
