//! A network between two processes that fails: a proxy on loopback.

use super::program::WAIT_MAX;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A link between two processes that can be cut: then its connections stay open, and nothing
/// arrives any more. Later connections are through another link.
pub struct Link {
    /// Where its near end listens.
    pub address: String,
    cuts: Arc<AtomicUsize>,
}

impl Link {
    /// A link to an address.
    pub fn to(address: &str) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link =
            Link { address: listener.local_addr().unwrap().to_string(), cuts: Arc::default() };
        let (cuts, address) = (Arc::clone(&link.cuts), address.to_owned());
        std::thread::spawn(move || {
            for here in listener.incoming() {
                let (Ok(here), Ok(there)) = (here, TcpStream::connect(&address)) else { continue };
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (cuts, made) = (Arc::clone(&cuts), cuts.load(Ordering::Relaxed));
                    std::thread::spawn(move || {
                        copy(from, to, || cuts.load(Ordering::Relaxed) != made);
                    });
                }
            }
        });
        link
    }

    /// Cuts it, without a word to either side.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

/// Copies bytes until their end, or until they are cut, which neither side sees.
fn copy(mut from: TcpStream, mut to: TcpStream, is_cut: impl Fn() -> bool) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = [0; 4_096];
    loop {
        match from.read(&mut bytes) {
            _ if is_cut() => std::thread::sleep(WAIT_MAX),
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
