//! A proxy on this machine.

use std::collections::BTreeMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::server::{head, read_request};

/// A proxy that opens tunnels (CONNECT) and knows the addresses of some names itself.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// The targets it was asked for.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn start(names: BTreeMap<String, SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let asked = Arc::clone(&proxy.asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let Some(request) = read_request(&mut reader) else { continue };
                asked.lock().unwrap().push(request.target.clone());
                let address = names.get(&request.target).copied().or_else(|| request.target.parse().ok());
                let Some(Ok(target)) = address.map(TcpStream::connect) else {
                    let _ = head(&mut stream.try_clone().unwrap(), 502, &[], 0);
                    continue;
                };
                let _ = (&stream).write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
                for (from, to) in [(stream.try_clone(), target.try_clone()), (Ok(target), Ok(stream))] {
                    let (mut from, mut to) = (from.unwrap(), to.unwrap());
                    std::thread::spawn(move || {
                        let mut chunk = [0; 4096];
                        while let Ok(read @ 1..) = from.read(&mut chunk) {
                            if to.write_all(&chunk[..read]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        proxy
    }
}
