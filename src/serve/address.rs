//! Where the server listens: `HOST:PORT`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

/// A host and a port, as given to `--http-address`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAddress {
    /// A name, or an address; one of IPv6 in brackets.
    pub host: String,
    /// The port; with 0 the system chooses one.
    pub port: u16,
}

/// A server's place, before it serves.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    /// The host as it was given.
    host: String,
}

impl Listener {
    /// The address at which it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The host as it was given, and its address, as URLs have them.
    pub(super) fn names(&self) -> std::io::Result<Vec<String>> {
        let ip = match self.local_addr()?.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Ok(vec![ip, self.host.clone()])
    }
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP at {address}: {error}; {advice}")]
pub struct ListenError {
    /// The address.
    address: String,
    /// The system error.
    error: std::io::Error,
    /// What to do.
    advice: &'static str,
}

impl HttpAddress {
    /// A port of this machine that no other machine reaches; the system chooses it.
    pub fn any_local() -> HttpAddress {
        HttpAddress { host: "127.0.0.1".to_owned(), port: 0 }
    }

    /// The address of a process of a job that was given this one: its port is greater by the number
    /// of the process, so that the processes of one host do not share one.
    pub fn of_process(&self, process: usize) -> HttpAddress {
        let port = match self.port {
            0 => 0,
            port => port.saturating_add(u16::try_from(process).unwrap_or(u16::MAX)),
        };
        HttpAddress { host: self.host.clone(), port }
    }

    /// Listens.
    ///
    /// # Errors
    /// When the host is not one of this machine, or the port is taken.
    pub fn listen(&self) -> Result<Listener, ListenError> {
        let failed = |error: std::io::Error| {
            let advice = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another program listens there: stop it, or give another port with \
                     --http-address"
                }
                std::io::ErrorKind::PermissionDenied => "give a port from 1024 on",
                _ => "give an address of this machine with --http-address, such as 127.0.0.1:8080",
            };
            ListenError { address: self.to_string(), error, advice }
        };
        let addresses: Vec<SocketAddr> =
            self.to_string().to_socket_addrs().map_err(failed)?.collect();
        let socket = TcpListener::bind(&addresses[..]).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Listener { socket, host: self.host.clone() })
    }
}

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<HttpAddress, String> {
        let wrong = || format!("`{text}` is not HOST:PORT, such as 127.0.0.1:8080");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        let is_host = match inside {
            Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(is_plain),
        };
        let port = port.parse().ok().filter(|_| is_host).ok_or_else(wrong)?;
        Ok(HttpAddress { host: host.to_owned(), port })
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl Serialize for HttpAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HttpAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HttpAddress, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:8080", "localhost:0", "[::1]:80", "0.0.0.0:65535", "my-host:1"] {
            assert_eq!(text.parse::<HttpAddress>().unwrap().to_string(), text);
        }
        for text in ["", "8080", ":8080", "localhost", "a b:1", "::1:80", "h:65536", "[x]:1", "h:"]
        {
            assert!(text.parse::<HttpAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_processes_of_a_host_do_not_share_a_port() {
        let ports = |text: &str| {
            let address: HttpAddress = text.parse().unwrap();
            [0, 1, 7].map(|process| address.of_process(process).port)
        };
        assert_eq!(ports("h:8080"), [8080, 8081, 8087]);
        assert_eq!(ports("h:0"), [0; 3]);
        assert_eq!(ports("h:65530"), [65530, 65531, 65535]);
    }

    #[test]
    fn a_port_that_is_taken_is_said_with_the_remedy() {
        let taken = HttpAddress::any_local().listen().unwrap();
        let port = taken.local_addr().unwrap().port();
        let address = HttpAddress { port, ..HttpAddress::any_local() };
        let said = address.listen().unwrap_err().to_string();
        assert!(said.starts_with(&format!("cannot serve HTTP at 127.0.0.1:{port}: ")), "{said}");
        assert!(said.contains("give another port with --http-address"), "{said}");
    }
}
