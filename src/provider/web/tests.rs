//! The client against servers on this machine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use reqwest::Method;
use wiremock::matchers::{header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Answer, Request, Web, WebError, parse_address};

fn web(allowed: &[&str]) -> Web {
    Web::new(&allowed.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>())
}

fn get(url: &str) -> Request {
    Request::new(Method::GET, parse_address(url).unwrap())
}

async fn ask(allowed: &[&str], url: &str) -> Result<Answer, String> {
    web(allowed).send(get(url)).await.map_err(|error| error.to_string())
}

async fn server_with(at: &str, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path(at)).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let server = server_with("/", ResponseTemplate::new(200).set_body_string("hello")).await;
    let refused = ask(&[], &server.uri()).await.unwrap_err();
    assert!(refused.starts_with("`127.0.0.1` is a private address"), "{refused}");
    let port = server.address().port();
    let named = format!("http://localhost:{port}/?token=hunter22");
    let refused = ask(&[], &named).await.unwrap_err();
    assert!(refused.starts_with("`localhost` resolves to a private address"), "{refused}");
    let here = format!("127.0.0.1:{port}");
    assert_eq!(ask(&[&here], &server.uri()).await.unwrap().body, b"hello");
    assert!(ask(&["127.0.0.1:1"], &server.uri()).await.is_err());
    let localhost = format!("localhost:{port}");
    assert_eq!(ask(&[&localhost], &named).await.unwrap().body, b"hello");
    assert!(ask(&["localhost:1"], &named).await.is_err());
    assert!(server.received_requests().await.unwrap().len() == 2, "nothing that was refused arrived");
}

#[tokio::test]
async fn every_hop_of_a_redirect_is_checked() {
    let target = "http://169.254.169.254/latest/meta-data/";
    let server = server_with("/", ResponseTemplate::new(302).insert_header("location", target)).await;
    let refused = ask(&["127.0.0.1"], &server.uri()).await.unwrap_err();
    assert!(refused.starts_with("`169.254.169.254` is a private address"), "{refused}");
    let file =
        server_with("/", ResponseTemplate::new(302).insert_header("location", "file:///etc/passwd")).await;
    assert!(ask(&["127.0.0.1"], &file.uri()).await.is_err());
}

#[tokio::test]
async fn redirects_end_after_five_and_carry_no_header_elsewhere() {
    let round = server_with("/", ResponseTemplate::new(302).insert_header("location", "/")).await;
    let refused = ask(&["127.0.0.1"], &round.uri()).await.unwrap_err();
    assert!(refused.ends_with("redirects more than 5 times"), "{refused}");
    assert_eq!(round.received_requests().await.unwrap().len(), 6);

    let end = server_with("/end", ResponseTemplate::new(200)).await;
    let away = ResponseTemplate::new(307).insert_header("location", format!("{}/end", end.uri()));
    let server = server_with("/", away).await;
    let mut request = get(&server.uri());
    request.header("X-Key", "hunter22").unwrap();
    assert_eq!(web(&["127.0.0.1"]).send(request.clone()).await.unwrap().status, 200);
    assert!(!end.received_requests().await.unwrap()[0].headers.contains_key("x-key"));
    request.method = Method::POST;
    let refused = web(&["127.0.0.1"]).send(request).await.unwrap_err();
    assert!(matches!(refused, WebError::RedirectedAway { .. }), "{refused}");
}

#[tokio::test]
async fn headers_and_bodies_arrive() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header_exists("x-key"))
        .respond_with(ResponseTemplate::new(201))
        .mount(&server)
        .await;
    let mut request = get(&server.uri());
    request.method = Method::POST;
    request.header("X-Key", "hunter22").unwrap();
    request.body = Some(serde_json::json!({"a": 1}));
    assert!(!format!("{request:?}").contains("hunter22"));
    assert_eq!(web(&["127.0.0.1"]).send(request).await.unwrap().status, 201);
    let body = server.received_requests().await.unwrap()[0].body.clone();
    assert_eq!(body, br#"{"a":1}"#);
}

/// A server that answers its first visitor with `head` and then `body` for ever.
fn endless(body: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let Some(body) = body else { return std::thread::sleep(Duration::from_secs(20)) };
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(body).is_ok() {}
    });
    format!("http://{address}/?token=hunter22")
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let refused = ask(&["127.0.0.1"], &endless(Some(&[b'x'; 65536]))).await.unwrap_err();
    assert!(refused.ends_with("returned more than 1048576 bytes"), "{refused}");
    let mut request = get(&endless(Some(b"abc")));
    (request.limit, request.cut) = (4, true);
    let answer = web(&["127.0.0.1"]).send(request).await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.cut), (b"abca".as_slice(), true));
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let mut request = get(&endless(None));
    request.timeout = Duration::from_millis(200);
    let started = Instant::now();
    let error = web(&["127.0.0.1"]).send(request).await.unwrap_err();
    assert!(error.to_string().ends_with("did not respond in time") && error.may_pass(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn errors_name_the_origin_alone() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error =
        ask(&["127.0.0.1"], &format!("http://127.0.0.1:{port}/secret?token=hunter22")).await.unwrap_err();
    assert!(error.starts_with(&format!("http://127.0.0.1:{port} cannot be reached: ")), "{error}");
    assert!(!error.contains("hunter22") && !error.contains("secret"), "{error}");
}
