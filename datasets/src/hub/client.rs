//! One GET: redirects, the token, and what every failure means.

use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use ureq::http::{StatusCode, Uri};

use super::retry::{Fault, retry_after};
use super::settings::Settings;
use crate::Error;

/// Redirects followed for one request; the hub needs two.
const MOST_REDIRECTS: usize = 8;

pub(super) struct Client {
    http: ureq::Agent,
    endpoint: String,
    token: Option<String>,
    proxy: Option<String>,
    read_seconds: f64,
}

/// A response whose body is still to be read: 200, 206 or 416.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ureq::Body,
    /// Where it came from in the end.
    pub(super) url: String,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Self {
        let limits = settings.limits();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // They are followed here, where the token can be kept from other hosts.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(settings.proxy().cloned())
            .user_agent(concat!("stepsynth/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_send_request(Some(limits.read))
            .timeout_recv_response(Some(limits.read))
            .timeout_per_read(Some(limits.read))
            .timeout_per_write(Some(limits.read))
            .build();
        Self {
            http: config.into(),
            endpoint: settings.endpoint().to_owned(),
            token: settings.token().map(Into::into),
            proxy: settings.proxy().map(|proxy| format!("{}:{}", proxy.host(), proxy.port())),
            read_seconds: limits.read.as_secs_f64(),
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// GETs `url`, which is the hub's, once.
    pub(super) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Fault> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let ours = same_origin(&url, &self.endpoint);
            let mut request = self.http.get(&url).header("accept-encoding", "identity");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(token) = self.token.as_ref().filter(|_| ours) {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| self.fault(&url, error))?;
            let status = response.status();
            let (parts, body) = response.into_parts();
            match status.as_u16() {
                200 | 206 | 416 => return Ok(Answer { status, headers: parts.headers, body, url }),
                301 | 302 | 303 | 307 | 308 => url = self.redirect(&url, &parts.headers)?,
                _ => return Err(self.status(&url, ours, status, &parts.headers)),
            }
        }
        Err(lasting(&url, format!("more than {MOST_REDIRECTS} redirects"), "check HF_ENDPOINT and the proxy"))
    }

    fn redirect(&self, from: &str, headers: &HeaderMap) -> Result<String, Fault> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|location| resolve(from, location));
        let Some(target) = target else {
            return Err(lasting(from, "a redirect to nowhere".into(), "check HF_ENDPOINT and the proxy"));
        };
        if from.starts_with("https:") && !target.starts_with("https:") {
            let why = format!("a redirect from https to {}", without_query(&target));
            return Err(lasting(from, why, "check HF_ENDPOINT and the proxy; it is not followed"));
        }
        Ok(target)
    }

    /// What a status that is no success means.
    fn status(&self, url: &str, ours: bool, status: StatusCode, headers: &HeaderMap) -> Fault {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let said = header("x-error-message").filter(|said| !said.is_empty());
        let said = said.map(|said| format!(" ({})", said.chars().take(160).collect::<String>())).unwrap_or_default();
        let why = format!("{status}{said}");
        let code = header("x-error-code").unwrap_or_default();
        match status.as_u16() {
            401 | 403 if !ours => {
                // Addresses of files expire; the next attempt asks the hub for another.
                Fault::passing(why, "try again; if it stays so, check the proxy and the clock of this machine")
            }
            401 | 403 => {
                let remedy = match (code, self.token.is_some()) {
                    ("GatedRepo", true) => "accept the licence on the repository's page with the account of your token",
                    ("GatedRepo", false) => "accept the licence on the repository's page and set HF_TOKEN",
                    // Without a right to see it, the hub does not say whether a repository exists.
                    (_, true) => "check the name and the revision, and that your token is valid and its account may read it",
                    (_, false) => {
                        "check the name and the revision; if it is private or gated, accept its licence and set HF_TOKEN"
                    }
                };
                Fault::Lasting(Error::HubRefused { what: without_query(url), why, remedy: remedy.into() })
            }
            404 if ours => {
                let remedy = match code {
                    "RevisionNotFound" => "there is no such revision; check its name, or leave it out for `main`",
                    "EntryNotFound" => "there is no such file at this revision; check the revision",
                    _ => "check the name and the revision; names are `organisation/name`",
                };
                Fault::Lasting(Error::HubRefused { what: without_query(url), why, remedy: remedy.into() })
            }
            429 => Fault::Passing {
                why,
                remedy: "the hub limits requests; wait some minutes, or set HF_TOKEN for a higher limit",
                wait: header(RETRY_AFTER.as_str()).and_then(retry_after).or_else(|| header("ratelimit").and_then(reset)),
            },
            408 | 425 | 500 | 502 | 503 | 504 => Fault::Passing {
                why,
                remedy: "the server has trouble; try again later",
                wait: header(RETRY_AFTER.as_str()).and_then(retry_after),
            },
            407 => lasting(url, why, "the proxy wants credentials; put them in HTTPS_PROXY (http://user:password@host:port)"),
            _ => lasting(url, why, "check HF_ENDPOINT and the proxy"),
        }
    }

    /// What a failure without a status means.
    pub(super) fn fault(&self, url: &str, error: ureq::Error) -> Fault {
        let through = self.proxy.as_ref().map(|proxy| format!(" (proxy {proxy})")).unwrap_or_default();
        let text = format!("{error}{through}");
        match error {
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                Fault::passing(format!("no connection in time{through}"), "check the network, HTTPS_PROXY and HF_ENDPOINT")
            }
            ureq::Error::Timeout(_) => {
                let why = format!("the server was silent for {} s{through}", self.read_seconds);
                Fault::passing(why, "try again; what has arrived is kept")
            }
            ureq::Error::HostNotFound => lasting(url, unknown_host(&through), UNKNOWN_HOST_REMEDY),
            ureq::Error::Io(error) if error.to_string().contains("lookup address") => {
                lasting(url, unknown_host(&through), UNKNOWN_HOST_REMEDY)
            }
            ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
                lasting(url, text, "check HTTPS_PROXY (http://user:password@host:port) and NO_PROXY")
            }
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) | ureq::Error::TlsRequired => {
                let remedy = "the server's certificate or encryption is not accepted; check the clock, the proxy and HF_ENDPOINT";
                lasting(url, text, remedy)
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
                lasting(url, text, "check HF_ENDPOINT")
            }
            _ => Fault::passing(text, "check the network, HTTPS_PROXY and HF_ENDPOINT, and try again"),
        }
    }
}

/// Seconds until requests are counted anew, in the hub's `RateLimit: "api";r=0;t=55`.
fn reset(limit: &str) -> Option<Duration> {
    let seconds = limit.split(';').find_map(|part| part.trim().strip_prefix("t="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

const UNKNOWN_HOST_REMEDY: &str = "check the network, HF_ENDPOINT and whether HTTPS_PROXY has to be set";

fn unknown_host(through: &str) -> String {
    format!("the host name is unknown{through}")
}

pub(super) fn lasting(url: &str, why: String, remedy: &str) -> Fault {
    Fault::Lasting(failed(url, why, remedy))
}

pub(super) fn failed(url: &str, why: String, remedy: &str) -> Error {
    Error::HubFailed { url: without_query(url), why, remedy: remedy.into() }
}

/// An address for messages: queries of redirects hold signatures that open the file to whoever has them.
fn without_query(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    plain.chars().take(300).filter(|c| !c.is_control()).collect()
}

/// Scheme, host and port, with the scheme's own port where none is stated.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().or(match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    })?;
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

pub(super) fn same_origin(a: &str, b: &str) -> bool {
    let (a, b) = (origin(a), origin(b));
    a.is_some() && a == b
}

/// The address that `location` means on the page `from`; `None` if it is not one of the web.
pub(super) fn resolve(from: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let uri: Uri = from.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let target = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.is_empty() || location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        return None;
    } else {
        let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    origin(&target)?;
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_of_every_form() {
        let from = "https://hub.co/api/models/bert?x=1";
        for (location, target) in [
            ("https://cdn.co/f?sig=1", Some("https://cdn.co/f?sig=1")),
            ("//cdn.co/f", Some("https://cdn.co/f")),
            ("/api/models/org/bert", Some("https://hub.co/api/models/org/bert")),
            ("org/bert#part", Some("https://hub.co/api/models/org/bert")),
            ("file:///etc/passwd", None),
            ("javascript:x", None),
            ("", None),
        ] {
            assert_eq!(resolve(from, location).as_deref(), target, "{location}");
        }
    }

    #[test]
    fn what_was_encrypted_stays_so() {
        let variables = |name: &str| (name == "HF_HOME").then(|| "/f".into());
        let client = Client::new(&Settings::from_variables(variables).unwrap());
        let to = |from: &str, location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, location.parse().unwrap());
            client.redirect(from, &headers)
        };
        assert!(to("https://hub.co/a", "https://cdn.co/b").is_ok() && to("http://hub.co/a", "http://cdn.co/b").is_ok());
        let Err(Fault::Lasting(error)) = to("https://hub.co/a", "http://cdn.co/b?sig=1") else { panic!("followed") };
        assert!(error.to_string().contains("a redirect from https to http://cdn.co/b; "), "{error}");
    }

    #[test]
    fn the_hubs_own_way_to_say_when() {
        assert_eq!(reset("\"api\";r=0;t=55"), Some(Duration::from_secs(55)));
        assert_eq!(reset("\"api\";r=0"), None);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(same_origin("https://Hub.co/x", "https://hub.co:443/y"));
        for other in ["http://hub.co", "https://hub.co:8443", "https://hub.co.evil", "https://cdn.hub.co", "hub.co"] {
            assert!(!same_origin("https://hub.co", other), "{other}");
        }
    }
}
