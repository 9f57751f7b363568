//! A small HTTP service in this process that a test scripts: it answers by method and path, and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What the service was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What it answers: the head after `HTTP/1.1 `, and a body.
pub(crate) enum Answer {
    Json(&'static str, Value),
    /// Says nothing, and keeps the connection.
    Silence,
    /// Talks until the visitor goes away.
    Flood,
}

pub(crate) struct Service {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// `script` gets a request and how many like it came before.
    pub(crate) fn start(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, script) = (Arc::clone(&asked), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    let answer = {
                        let mut seen = seen.lock().unwrap();
                        let alike = |one: &&Asked| one.method == request.method && one.path == request.path;
                        let before = seen.iter().filter(alike).count();
                        let answer = script(&request, before);
                        seen.push(request);
                        answer
                    };
                    let _ = give(stream, answer);
                });
            }
        });
        Self { url, asked }
    }

    /// Everything that it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        self.asked().iter().filter(|one| one.method == method && one.path == path).count()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Asked { method, path, headers, body })
}

fn give(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Json(head, body) => {
            let body = body.to_string();
            let length = body.len();
            write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        }
        Answer::Silence => {
            let _ = stream.read(&mut [0]);
            Ok(())
        }
        Answer::Flood => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 65536])?;
            }
        }
    }
}
