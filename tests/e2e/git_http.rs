//! Git over smart HTTP on loopback, through the real `git http-backend`: tokens, permissions, and a server that hangs
//! up before it acknowledges a push. In this process, so that the tests need nothing but Git.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// Serves the repositories below `root` on a free port, to the people of `tests/rig/gitusers.json`, until the process
/// ends. A token comes as the password of Basic; the user name is ignored, as on Git hosts. A file
/// `drop-acknowledgement` in a repository makes the server hang up once after a push, before it says so; a file `fail`
/// makes it answer the next requests with an error, a file `fail-want` those that want one object, and a file `hang` makes it
/// not answer at all.
pub(crate) fn serve(root: PathBuf) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let root = root.clone();
            // A client that goes away is no concern of the server's.
            thread::spawn(move || answer(&connection, &root).unwrap_or_default());
        }
    });
    port
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn read(connection: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        (&*connection).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(size) = headers.get("content-length").and_then(|value| value.parse().ok()) {
        body = vec![0; size];
        reader.read_exact(&mut body)?;
    }
    Ok(Request { method, path, query, headers, body })
}

fn answer(mut connection: &TcpStream, root: &Path) -> std::io::Result<()> {
    let request = read(connection)?;
    let hang = repository(root, &request.path).join("hang");
    if hang.exists() {
        std::fs::write(hang.with_file_name("hangs"), "")?;
        while hang.exists() {
            thread::sleep(std::time::Duration::from_millis(50));
        }
        return Ok(());
    }
    if let Some(status) = outage(root, &request.path).or_else(|| refused_want(root, &request)) {
        return refuse(connection, &status, "", "not now");
    }
    let pushing = request.path.contains("git-receive-pack") || request.query.contains("git-receive-pack");
    let Some((login, may_push)) = request.headers.get("authorization").and_then(|value| person(value)) else {
        return refuse(
            connection,
            "401 Unauthorized",
            "WWW-Authenticate: Basic realm=\"git\"\r\n",
            "who are you?",
        );
    };
    if pushing && !may_push {
        let words = format!("Permission to {} denied to {login}.", request.path);
        return refuse(connection, "403 Forbidden", "", &words);
    }
    let output = backend(root, &request, &login)?;
    if request.method == "POST" && pushing && drops(root, &request.path) {
        return Ok(());
    }
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(output.len());
    let (head, content) =
        (String::from_utf8_lossy(&output[..split]), output.get(split + 4..).unwrap_or_default());
    let mut status = "200 OK".to_owned();
    let mut headers = String::new();
    for line in head.lines() {
        match line.strip_prefix("Status: ") {
            Some(other) => other.clone_into(&mut status),
            None => headers.push_str(&format!("{line}\r\n")),
        }
    }
    let length = content.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    connection.write_all(head.as_bytes())?;
    connection.write_all(content)
}

/// What the real `git http-backend` answers, as a CGI program does.
fn backend(root: &Path, request: &Request, login: &str) -> std::io::Result<Vec<u8>> {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let mut command = Command::new("git");
    command.arg("http-backend").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("PATH_INFO", &request.path).env("QUERY_STRING", &request.query);
    command.env("REQUEST_METHOD", &request.method).env("REMOTE_USER", login).env("REMOTE_ADDR", "127.0.0.1");
    command.env("CONTENT_TYPE", header("content-type")).env("CONTENT_LENGTH", request.body.len().to_string());
    command
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    let body = request.body.clone();
    let writer = thread::spawn(move || stdin.write_all(&body).unwrap_or_default());
    let output = child.wait_with_output()?;
    writer.join().unwrap();
    Ok(output.stdout)
}

/// Who a header speaks for, and whether they may push.
fn person(header: &str) -> Option<(String, bool)> {
    let users: serde_json::Value = serde_json::from_str(include_str!("../rig/gitusers.json")).unwrap();
    let token = match header.split_once(' ')? {
        ("Basic", coded) => String::from_utf8(decode(coded)).ok()?.rsplit(':').next()?.to_owned(),
        (_, token) => token.to_owned(),
    };
    let user = users.get(&token)?;
    Some((user["login"].as_str()?.to_owned(), user["push"].as_bool()?))
}

/// Base64, as HTTP uses it.
fn decode(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for sextet in text.bytes().map_while(value) {
        bits = (bits << 6) | sextet;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    bytes
}

fn refuse(mut connection: &TcpStream, status: &str, headers: &str, words: &str) -> std::io::Result<()> {
    let length = words.len();
    write!(
        connection,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{words}"
    )
}

/// Whether this push is one whose acknowledgement gets lost.
fn drops(root: &Path, path: &str) -> bool {
    std::fs::remove_file(repository(root, path).join("drop-acknowledgement")).is_ok()
}

/// The status that a file `fail` demands for this request: how often on its first line, then the status and headers.
fn outage(root: &Path, path: &str) -> Option<String> {
    let file = repository(root, path).join("fail");
    let text = std::fs::read_to_string(&file).ok()?;
    let (times, status) = text.split_once('\n')?;
    match times.parse::<usize>().ok()?.checked_sub(1)? {
        0 => std::fs::remove_file(file).ok()?,
        left => std::fs::write(file, format!("{left}\n{status}")).ok()?,
    }
    Some(status.to_owned())
}

/// The status that a file `fail-want` demands for a fetch of one object: its id on the first line, then the status.
fn refused_want(root: &Path, request: &Request) -> Option<String> {
    let text = std::fs::read_to_string(repository(root, &request.path).join("fail-want")).ok()?;
    let (id, status) = text.split_once('\n')?;
    let body = String::from_utf8_lossy(&request.body);
    body.contains(&format!("want {id}")).then(|| status.to_owned())
}

/// The repository of a request: its path up to `.git`.
fn repository(root: &Path, path: &str) -> PathBuf {
    let end = path.find(".git").map_or(path.len(), |at| at + ".git".len());
    root.join(path[..end].trim_start_matches('/'))
}
