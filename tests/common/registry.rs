//! A schema registry for tests: an HTTP server that answers the two requests of a reader like
//! Confluent's registry. It represents any registry with a compatible protocol.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A registry that runs until it is dropped.
pub struct TestRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The answers, by path.
    answers: Mutex<BTreeMap<String, String>>,
    /// The required value of the header `Authorization`.
    authorization: Mutex<Option<String>>,
    /// Whether unknown paths are answered without the codes of a registry, and whether the formats
    /// of a registry are.
    is_odd: AtomicBool,
    is_other: AtomicBool,
    /// Where paths that begin with `/moved` lead to.
    moved_to: Mutex<String>,
    asked: AtomicUsize,
    is_down: AtomicBool,
    has_ended: AtomicBool,
}

impl TestRegistry {
    pub fn start() -> TestRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.has_ended.load(Ordering::Relaxed) {
                    return;
                }
                // A registry that is down closes every connection.
                if !served.is_down.load(Ordering::Relaxed) {
                    let _ = serve(&served, stream.unwrap());
                }
            }
        });
        TestRegistry { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers a schema with an id; its references are (name, subject, version).
    pub fn register(&self, id: u32, format: &str, schema: &str, references: &[(&str, &str, u32)]) {
        let answer = answer(format, schema, references);
        self.answers().insert(format!("/schemas/ids/{id}"), answer);
    }

    /// Registers a schema that others refer to. The subject is given as encoded in a path.
    pub fn register_subject(&self, subject: &str, version: u32, format: &str, schema: &str) {
        let path = format!("/subjects/{subject}/versions/{version}");
        self.answers().insert(path, answer(format, schema, &[]));
    }

    pub fn require(&self, authorization: &str) {
        *self.shared.authorization.lock().unwrap() = Some(authorization.into());
    }

    /// From now on, unknown paths are answered by a 404 that is not a registry's own. Without
    /// `is_registry` nothing else tells that it is one.
    pub fn set_odd(&self, is_registry: bool) {
        self.shared.is_odd.store(true, Ordering::Relaxed);
        self.shared.is_other.store(!is_registry, Ordering::Relaxed);
    }

    /// Redirects `/moved/PATH` to a URL and `/PATH`.
    pub fn set_moved(&self, url: &str) {
        *self.shared.moved_to.lock().unwrap() = url.into();
    }

    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::Relaxed);
    }

    /// The number of requests that were answered.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.shared.answers.lock().unwrap()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(format: &str, schema: &str, references: &[(&str, &str, u32)]) -> String {
    let mut answer = serde_json::json!({ "schema": schema });
    // Like Confluent's registry: the type is omitted for Avro.
    if format != "AVRO" {
        answer["schemaType"] = format.into();
    }
    let references: Vec<_> = references
        .iter()
        .map(|(name, subject, version)| {
            serde_json::json!({ "name": name, "subject": subject, "version": version })
        })
        .collect();
    if !references.is_empty() {
        answer["references"] = references.into();
    }
    answer.to_string()
}

fn serve(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut authorization = None;
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = Some(value.to_string());
            }
            Some(_) => {}
            None => break,
        }
    }
    shared.asked.fetch_add(1, Ordering::Relaxed);
    let required = shared.authorization.lock().unwrap().clone();
    let path = first.split(' ').nth(1).unwrap_or_default();
    if let Some(path) = path.strip_prefix("/moved") {
        let location = format!("{}{path}", shared.moved_to.lock().unwrap());
        return write!(
            stream,
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let found = shared.answers.lock().unwrap().get(path).cloned();
    let (status, body) = match found {
        _ if required.is_some() && required != authorization => {
            ("401 Unauthorized", r#"{"error_code":401,"message":"Unauthorized"}"#.to_string())
        }
        Some(body) => ("200 OK", body),
        None if path == "/schemas/types" && !shared.is_other.load(Ordering::Relaxed) => {
            ("200 OK", r#"["JSON","PROTOBUF","AVRO"]"#.to_string())
        }
        None if shared.is_odd.load(Ordering::Relaxed) => {
            ("404 Not Found", r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#.to_string())
        }
        None => {
            let body = r#"{"error_code":40403,"message":"Schema 9 not found"}"#;
            ("404 Not Found", body.to_string())
        }
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
