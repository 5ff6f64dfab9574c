//! What the settings of telemetry must be.

use usp_model::Violation;

use super::sections::TelemetrySection;

impl TelemetrySection {
    pub(super) fn problems(&self) -> Vec<Violation> {
        const NAME_CHARS_MAX: usize = 255;
        let mut found = Vec::new();
        let mut demand = |holds: bool, key: &str, detail: &str| {
            if !holds {
                found.push(Violation::new(format!("/telemetry/{key}"), detail));
            }
        };
        if let Some(endpoint) = &self.otlp_endpoint {
            demand(
                is_plain(endpoint),
                "otlp_endpoint",
                "use http://HOST:PORT of a collector's OTLP gRPC receiver, without a path; TLS is the business of a \
                 collector nearby, and its credentials belong there",
            );
        }
        let name_is_fit = (1..=NAME_CHARS_MAX).contains(&self.service_name.chars().count());
        demand(
            name_is_fit && !self.service_name.contains(char::is_control),
            "service_name",
            "1 to 255 characters",
        );
        demand(
            (0.0..=1.0).contains(&self.sample_ratio),
            "sample_ratio",
            "0 to 1, such as 0.1 for every tenth trace",
        );
        found
    }
}

/// `http://HOST:PORT` and nothing else.
fn is_plain(endpoint: &str) -> bool {
    let Ok(url) = endpoint.parse::<axum::http::Uri>() else { return false };
    url.scheme_str() == Some("http")
        && url.port_u16().is_some()
        && url.path_and_query().is_none_or(|path| path == "/")
        && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(section: &TelemetrySection) -> Vec<String> {
        section.problems().into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port_without_tls_path_or_credential() {
        let with = |endpoint: &str| {
            pointers(&TelemetrySection {
                otlp_endpoint: Some(endpoint.to_owned()),
                ..TelemetrySection::default()
            })
        };
        for endpoint in ["http://127.0.0.1:4317", "http://otel.example:4317/", "http://[::1]:4317"] {
            assert_eq!(with(endpoint), Vec::<String>::new(), "{endpoint}");
        }
        for endpoint in [
            "",
            "127.0.0.1:4317",
            "https://h:4317",
            "http://h",
            "http://h:4317/v1/traces",
            "http://me:x@h:4317",
        ] {
            assert_eq!(with(endpoint), ["/telemetry/otlp_endpoint"], "{endpoint}");
        }
    }

    #[test]
    fn a_share_is_between_nothing_and_all() {
        for (sample_ratio, is_fit) in
            [(0.0, true), (1.0, true), (-0.1, false), (1.5, false), (f64::NAN, false)]
        {
            let section = TelemetrySection { sample_ratio, ..TelemetrySection::default() };
            assert_eq!(pointers(&section).is_empty(), is_fit, "{sample_ratio}");
        }
    }
}
