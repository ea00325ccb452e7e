//! What the environment says about the hub, under the names that Python's `huggingface_hub` reads.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::id::refused;
use crate::{Error, Result};

/// How long to wait and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for a name to be resolved and for a connection.
    pub connect: Duration,
    /// Longest silence of a server.
    pub read: Duration,
    /// Pause after the first failure; it doubles from one failure to the next.
    pub pause: Duration,
    /// Longest pause, also when the server asks for more.
    pub longest_pause: Duration,
    /// Failures in a row, without a byte gained, after which to give up.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            read: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            // The hub counts requests over five minutes.
            longest_pause: Duration::from_secs(360),
            attempts: 5,
        }
    }
}

/// Where the hub and its cache are.
#[derive(Clone)]
pub struct Settings {
    endpoint: String,
    cache: PathBuf,
    token: Option<String>,
    offline: bool,
    proxy: Option<ureq::Proxy>,
    limits: Limits,
}

impl Settings {
    /// From `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN` (or the file that `HF_TOKEN_PATH` names, else
    /// `$HF_HOME/token`), `HF_HUB_OFFLINE`, and `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`Error::HubRefused`] if one of them does not make sense.
    pub fn from_environment() -> Result<Self> {
        let settings = Self::from_variables(|name| std::env::var_os(name))?;
        Ok(Self { proxy: ureq::Proxy::try_from_env(), ..settings })
    }

    /// As [`Settings::from_environment`], from another source of variables and without a proxy.
    ///
    /// # Errors
    /// [`Error::HubRefused`] if one of them does not make sense.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let user = set("HOME").or_else(|| set("USERPROFILE")).map(PathBuf::from);
        let folder = |name: &str| Some(expand(PathBuf::from(set(name)?), user.as_deref()));
        let home = folder("HF_HOME")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| user.as_ref().map(|user| user.join(".cache").join("huggingface")));
        let no_home = || refused("HF_HOME", "neither it nor HOME is set".into(), "set HF_HOME to a folder for models");
        let cache = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
        let cache = match cache {
            Some(cache) => cache,
            None => home.as_ref().ok_or_else(no_home)?.join("hub"),
        };
        let token_file = folder("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
        let truth = |name: &str| {
            let value = set(name).map(|value| value.to_string_lossy().to_uppercase());
            value.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.as_str()))
        };
        Ok(Self {
            endpoint: endpoint(set("HF_ENDPOINT"))?,
            cache,
            token: token(set("HF_TOKEN"), token_file.as_deref())?,
            offline: truth("HF_HUB_OFFLINE") || truth("TRANSFORMERS_OFFLINE"),
            proxy: None,
            limits: Limits::default(),
        })
    }

    /// The same with other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The folder of the cache.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The hub's address, without a slash at the end.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether the network is not to be used.
    pub fn offline(&self) -> bool {
        self.offline
    }

    /// Waits and attempts.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn proxy(&self) -> Option<&ureq::Proxy> {
        self.proxy.as_ref()
    }
}

/// Whoever prints the settings does not print the token, nor the proxy with its password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "set"))
            .field("offline", &self.offline)
            .field("proxy", &self.proxy.as_ref().map(|proxy| (proxy.host().to_owned(), proxy.port())))
            .field("limits", &self.limits)
            .finish()
    }
}

fn expand(path: PathBuf, user: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), user) {
        (Ok(rest), Some(user)) => user.join(rest),
        _ => path,
    }
}

fn endpoint(stated: Option<OsString>) -> Result<String> {
    let Some(stated) = stated else { return Ok("https://huggingface.co".into()) };
    let text = stated.to_string_lossy().trim_end_matches('/').to_owned();
    let uri = text.parse::<ureq::http::Uri>().ok();
    let plain = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && !text.contains(['@', '#'])
    });
    if plain {
        return Ok(text);
    }
    Err(refused("HF_ENDPOINT", "not an address such as https://huggingface.co".into(), "correct or unset it"))
}

fn token(stated: Option<OsString>, file: Option<&Path>) -> Result<Option<String>> {
    let (origin, text) = match (stated, file) {
        (Some(token), _) => ("HF_TOKEN".to_owned(), token.to_string_lossy().into_owned()),
        (None, Some(file)) if file.is_file() => {
            let text = std::fs::read_to_string(file).map_err(|source| Error::Io { path: file.into(), source })?;
            (file.display().to_string(), text)
        }
        _ => return Ok(None),
    };
    let token = text.trim();
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok((!token.is_empty()).then(|| token.to_owned()));
    }
    Err(refused(&origin, "holds more than a token (spaces or letters that no token has)".into(), "correct or unset it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Settings> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Settings::from_variables(find)
    }

    #[test]
    fn folders_in_the_order_of_the_python_library() {
        let cache = |variables: &[(&str, &str)]| of(variables).unwrap().cache;
        assert_eq!(cache(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/f")]), Path::new("/h/f/hub"));
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert!(of(&[]).unwrap_err().to_string().starts_with("HF_HOME: neither it nor HOME is set"));
    }

    #[test]
    fn the_token_comes_from_the_variable_or_the_file_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(of(&[("HF_HOME", home)]).unwrap().token(), Some("hf_file"));
        let stated = of(&[("HF_HOME", home), ("HF_TOKEN", "hf_variable")]).unwrap();
        assert_eq!(stated.token(), Some("hf_variable"));
        assert!(!format!("{stated:?}").contains("hf_variable"));
        let error = of(&[("HF_HOME", home), ("HF_TOKEN", "hf_a\nX-Other: b")]).unwrap_err().to_string();
        assert!(error.starts_with("HF_TOKEN: holds more than a token") && !error.contains("hf_a"), "{error}");
    }

    #[test]
    fn endpoints() {
        let endpoint = |value: &str| of(&[("HOME", "/h"), ("HF_ENDPOINT", value)]).map(|settings| settings.endpoint);
        assert_eq!(endpoint("").unwrap(), "https://huggingface.co");
        assert_eq!(endpoint("http://127.0.0.1:8080/mirror/").unwrap(), "http://127.0.0.1:8080/mirror");
        for wrong in ["huggingface.co", "ftp://x", "https://", "https://user:word@x", "https://x?y"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
