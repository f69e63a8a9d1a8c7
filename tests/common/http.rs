//! A small client of HTTP: it sends what a test says, also what no library would send.

use super::program::{Running, WAIT_MAX};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a server has answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The rows of an answer that succeeded.
    #[track_caller]
    pub fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["rows"].as_array().unwrap().clone()
    }

    /// The text of an error, whose body must be JSON with this status.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], status, "{self:?}");
        json["error"].as_str().unwrap().to_owned()
    }

    fn read(reader: &mut impl BufRead, is_head: bool) -> Option<Answer> {
        let (status, headers) = read_head(reader)?;
        let length = |name: &str| headers.iter().find(|(one, _)| one == name);
        let mut body = Vec::new();
        match length("content-length") {
            _ if is_head || status == 304 => {}
            Some((_, length)) => {
                body.resize(length.parse().ok()?, 0);
                reader.read_exact(&mut body).ok()?;
            }
            None => drop(reader.read_to_end(&mut body).ok()?),
        }
        Some(Answer { status, headers, body: String::from_utf8(body).ok()? })
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<(u16, Vec<(String, String)>)> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        Some(line.trim_end().to_owned())
    };
    let status = line()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            return Some((status, headers));
        }
        let (name, value) = line.split_once(": ")?;
        headers.push((name.to_lowercase(), value.to_owned()));
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub address: SocketAddr,
}

impl Client {
    /// The server of a job that has printed its URL.
    pub fn of(job: &Running) -> Client {
        const SAID: &str = "the page and the API: http://";
        job_says(job, SAID);
        let said = job.stderr();
        let address = said.split(SAID).nth(1).unwrap().split('/').next().unwrap();
        Client { address: address.parse().unwrap() }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream.set_write_timeout(Some(WAIT_MAX)).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let answer = self.send(format!("{request}Connection: close\r\n\r\n").as_bytes());
        answer.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// Sends bytes, and returns the answer if there is one.
    pub fn send(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        // The server may have refused it before it was sent.
        let _ = stream.write_all(bytes);
        Answer::read(&mut BufReader::new(stream), bytes.starts_with(b"HEAD "))
    }

    /// Waits until the job has committed something, and the server knows.
    pub fn wait(&self, what: &str, mut is_so: impl FnMut(&Client) -> bool) {
        super::program::wait_until(what, || is_so(self));
    }

    /// Follows the events of a path.
    pub fn events(&self, path: &str, last_id: Option<u64>) -> Events {
        let mut stream = self.connect();
        let last_id = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let host = self.address;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{last_id}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader).unwrap();
        assert_eq!(status, 200);
        assert!(headers.contains(&("content-type".into(), "text/event-stream".into())));
        assert!(headers.contains(&("transfer-encoding".into(), "chunked".into())));
        Events { chunks: Chunks { reader, left: 0 }, text: String::new() }
    }
}

fn job_says(job: &Running, text: &str) {
    super::program::wait_until(text, || job.stderr().contains(text));
}

/// An event of a stream.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    pub id: u64,
    pub data: Value,
}

/// A stream of events.
pub struct Events {
    chunks: Chunks,
    text: String,
}

impl Events {
    /// The next event; `None` when the server has ended the stream.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = event(block);
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            self.text += &self.chunks.next()?;
        }
    }

    /// Waits less long for the next event.
    pub fn set_patience(&self, wait: Duration) {
        self.chunks.reader.get_ref().set_read_timeout(Some(wait)).unwrap();
    }
}

/// Comments and the like are no events.
fn event(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let data = serde_json::from_str(field("data: ")?).unwrap();
    let (name, id) = (field("event: ").unwrap().into(), field("id: ").unwrap().parse().unwrap());
    Some(Event { name, id, data })
}

/// The chunks of an answer without a length.
struct Chunks {
    reader: BufReader<TcpStream>,
    left: usize,
}

impl Chunks {
    fn next(&mut self) -> Option<String> {
        if self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            self.left = usize::from_str_radix(line.trim_end(), 16).ok().filter(|size| *size > 0)?;
        }
        let mut bytes = vec![0; self.left];
        self.reader.read_exact(&mut bytes).ok()?;
        self.left = 0;
        let mut end = [0; 2];
        self.reader.read_exact(&mut end).ok()?;
        String::from_utf8(bytes).ok()
    }
}
