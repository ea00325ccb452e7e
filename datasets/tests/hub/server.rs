//! A small hub on this machine, with faults on request: real sockets, the protocol written out.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// How long a server that stalls says nothing; clients give up long before.
const STALL: Duration = Duration::from_secs(20);

/// What a server does to one request instead of answering it well.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status, with these headers and no body.
    Status(u16, Vec<(&'static str, String)>),
    /// This text as a good answer.
    Text(String),
    /// Spaces without end, as a good answer.
    Endless,
    /// No answer at all, for a while.
    Stall,
    /// So many bytes of the body, then silence.
    StallAfter(usize),
    /// So many bytes of the body, then the end of the connection.
    Truncate(usize),
    /// The end of the connection without an answer.
    Drop,
    /// The whole file, whatever range was asked for.
    IgnoreRange,
    /// So many bytes more than there are, announced.
    Longer(usize),
    /// The right number of wrong bytes.
    Flip,
    /// From now on the file has this tag.
    Tag(&'static str),
    /// The range of a file of this tag, although another was asked for.
    WrongTag(&'static str),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Path and query.
    pub(crate) target: String,
    /// Headers by lower-case name.
    pub(crate) headers: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    /// By path without query: what is served.
    files: HashMap<String, Vec<u8>>,
    redirects: HashMap<String, (u16, String)>,
    tags: HashMap<String, String>,
    faults: HashMap<String, VecDeque<Fault>>,
    requests: Vec<Request>,
}

/// A server on a port of its own. It ends with the process.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&server.state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        self.state.lock().unwrap().files.insert(path.into(), content.to_vec());
    }

    pub(crate) fn redirect(&self, path: &str, status: u16, location: &str) {
        self.state.lock().unwrap().redirects.insert(path.into(), (status, location.into()));
    }

    /// The next request of this path meets this fault.
    pub(crate) fn fault(&self, path: &str, fault: Fault) {
        self.state.lock().unwrap().faults.entry(path.into()).or_default().push_back(fault);
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Those of one path.
    pub(crate) fn requests_of(&self, path: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| path_of(&request.target) == path).collect()
    }
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

pub(crate) fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    Some(Request { target, headers })
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some(request) = read_request(&mut reader) else { return };
    let path = path_of(&request.target).to_owned();
    let mut out = stream;
    let (fault, file, redirect, tag) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let fault = state.faults.get_mut(&path).and_then(VecDeque::pop_front);
        if let Some(Fault::Tag(tag)) = &fault {
            state.tags.insert(path.clone(), (*tag).to_owned());
        }
        let file = state.files.get(&path).cloned();
        (fault, file, state.redirects.get(&path).cloned(), state.tags.get(&path).cloned())
    };
    // The other side may be gone; that is its business.
    let _ = answer(&mut out, &request, fault, file, redirect, tag);
    let _ = out.flush();
    let _ = out.shutdown(Shutdown::Both);
}

fn answer(
    out: &mut TcpStream,
    request: &Request,
    fault: Option<Fault>,
    file: Option<Vec<u8>>,
    redirect: Option<(u16, String)>,
    tag: Option<String>,
) -> std::io::Result<()> {
    match &fault {
        Some(Fault::Status(status, headers)) => {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.clone())).collect();
            return head(out, *status, &headers, 0);
        }
        Some(Fault::Text(text)) => {
            head(out, 200, &[], text.len())?;
            return out.write_all(text.as_bytes());
        }
        Some(Fault::Endless) => {
            out.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            loop {
                out.write_all(&[b' '; 1 << 16])?;
            }
        }
        Some(Fault::Stall) => {
            std::thread::sleep(STALL);
            return Ok(());
        }
        Some(Fault::Drop) => return Ok(()),
        _ => {}
    }
    if let Some((status, location)) = redirect {
        return head(out, status, &[("location", location)], 0);
    }
    let Some(mut content) = file else { return head(out, 404, &[], 0) };
    let mut tag = tag.unwrap_or_else(|| format!("\"{}\"", &hex(&Sha256::digest(&content))[..16]));
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    let mut first = header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match &fault {
        Some(Fault::WrongTag(other)) => tag = (*other).to_owned(),
        Some(Fault::IgnoreRange) => first = None,
        _ if header("if-range").is_some_and(|wanted| wanted != tag) => first = None,
        _ => {}
    }
    match &fault {
        Some(Fault::Longer(more)) => content.extend(vec![b'x'; *more]),
        Some(Fault::Flip) => content.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let size = content.len();
    let mut headers = vec![("etag", tag)];
    let body = match first {
        Some(first) if first >= size => return head(out, 416, &[("content-range", format!("bytes */{size}"))], 0),
        Some(first) => {
            headers.push(("content-range", format!("bytes {first}-{}/{size}", size - 1)));
            &content[first..]
        }
        None => &content[..],
    };
    head(out, if first.is_some() { 206 } else { 200 }, &headers, body.len())?;
    match fault {
        Some(Fault::Truncate(bytes)) => out.write_all(&body[..bytes.min(body.len())]),
        Some(Fault::StallAfter(bytes)) => {
            out.write_all(&body[..bytes.min(body.len())])?;
            out.flush()?;
            std::thread::sleep(STALL);
            Ok(())
        }
        _ => out.write_all(body),
    }
}

pub(crate) fn head(out: &mut TcpStream, status: u16, headers: &[(&str, String)], length: usize) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    out.write_all((text + "\r\n").as_bytes())
}

/// What stands for a repository: its files by path.
pub(crate) type Files<'a> = &'a [(&'a str, &'a [u8])];

/// A hub and, on another port, the host that its large files are on.
pub(crate) struct TestHub {
    pub(crate) hub: Server,
    pub(crate) storage: Server,
}

impl TestHub {
    pub(crate) fn start() -> Self {
        Self { hub: Server::start(), storage: Server::start() }
    }

    /// A model at a commit that `main` stands for.
    pub(crate) fn model(&self, name: &str, commit: &str, files: Files<'_>) {
        self.repository("models", "", name, commit, files);
    }

    /// A data set, likewise.
    pub(crate) fn dataset(&self, name: &str, commit: &str, files: Files<'_>) {
        self.repository("datasets", "/datasets", name, commit, files);
    }

    fn repository(&self, kind: &str, prefix: &str, name: &str, commit: &str, files: Files<'_>) {
        let mut entries = vec![r#"{"type":"directory","oid":"","size":0,"path":"folder"}"#.to_owned()];
        for (path, content) in files {
            let (size, blob) = (content.len(), git_blob(content));
            let address = format!("{prefix}/{name}/resolve/{commit}/{path}");
            if is_large(path) {
                let hash = hex(&Sha256::digest(content));
                entries.push(format!(
                    r#"{{"type":"file","oid":"{blob}","size":{size},"lfs":{{"oid":"{hash}","size":{size},"pointerSize":134}},"path":"{path}"}}"#
                ));
                self.storage.put(&format!("/{hash}"), content);
                self.hub.redirect(&address, 302, &format!("{}/{hash}?signature=secret", self.storage.url()));
            } else {
                entries.push(format!(r#"{{"type":"file","oid":"{blob}","size":{size},"path":"{path}"}}"#));
                self.hub.put(&address, content);
            }
        }
        self.hub.put(&format!("/api/{kind}/{name}/tree/{commit}"), format!("[{}]", entries.join(",")).as_bytes());
        self.branch(kind, name, "main", commit);
    }

    /// Says which commit a branch stands for.
    pub(crate) fn branch(&self, kind: &str, name: &str, branch: &str, commit: &str) {
        self.hub.put(&format!("/api/{kind}/{name}/revision/{branch}"), format!(r#"{{"sha":"{commit}"}}"#).as_bytes());
    }
}

/// The hub keeps these apart from git.
fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors") || path.ends_with(".parquet") || path.ends_with(".bin")
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub(crate) fn git_blob(content: &[u8]) -> String {
    hex(&Sha1::new().chain_update(format!("blob {}\0", content.len())).chain_update(content).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
