//! Tools of a server that is made with the official SDK for Python, by both transports. `.ci/run` installs it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::environment::TestEnvironment;
use crate::skip::unless_found;

const SERVER: &str = r#"
import os, sys
from mcp.server import MCPServer
server = MCPServer("counter", log_level="ERROR")

@server.tool()
def add(a: int, b: int) -> dict[str, int]:
    return {"sum": a + b}

@server.tool()
def fail() -> str:
    raise ValueError("no more numbers")

if len(sys.argv) > 1:
    import asyncio, socket, uvicorn
    listener = socket.socket(); listener.bind(("127.0.0.1", 0))
    inner = server.streamable_http_app()
    async def guarded(scope, receive, send):
        if scope["type"] == "http" and dict(scope["headers"]).get(b"x-key") != b"sesame-42":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            return await send({"type": "http.response.body", "body": b"no"})
        await inner(scope, receive, send)
    print(listener.getsockname()[1], flush=True)
    asyncio.run(uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="on")).serve([listener]))
else:
    server.run("stdio")
"#;

const MANIFEST: &str = r#"
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: count, namespace: team }
spec:
  description: Add two numbers
  graph:
    nodes:
      - { id: add, kind: Task, description: Add, inputs: { a: 2, b: 3 }, outputs: [sum], acceptanceCriteria: [{ name: kept, type: artifact_exists, path: count.yaml }] }
      - { id: fail, kind: Task, description: Fail }
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: { name: tools, namespace: team }
spec:
  rules:
    - { selector: { planRef: { name: count }, nodeId: add }, target: { provider: "mcp://counter/add" } }
    - { selector: { planRef: { name: count }, nodeId: fail }, target: { provider: "mcp://counter/fail" } }
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: { name: count-1, namespace: team }
spec: { planRef: { name: count }, bindingRef: { name: tools } }
"#;

/// The interpreter that has the official SDK of a protocol; nothing where it is missing.
#[track_caller]
pub(crate) fn python(sdk: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rig").join(sdk).join("bin/python");
    let missing = || format!("the Python SDK of {sdk} is not in target/rig/{sdk}; .ci/run installs it");
    unless_found(if python.exists() { Ok(python) } else { Err(missing()) })
}

fn check(environment: &TestEnvironment) {
    environment.planspec(&["validate"]).succeeds();
    environment.planspec(&["reconcile"]);
    let get = ["get", "execution/count-1", "-n", "team", "-o", "json"];
    let done = environment.planspec(&get).succeeds().json();
    let nodes = &done["status"]["nodeStatuses"];
    assert_eq!(nodes["add"]["outputs"]["sum"], 5, "{done:#}");
    assert_eq!(nodes["add"]["extensions"]["criteria"][0]["passed"], true, "{done:#}");
    assert_eq!(nodes["fail"]["phase"], "Failed", "{done:#}");
    assert!(nodes["fail"].to_string().contains("the tool failed"), "{done:#}");
}

#[test]
fn a_server_of_the_official_sdk_is_called_on_standard_input_and_output() {
    let Some(python) = python("mcp") else { return };
    let config =
        format!("providers: {{mcp: {{counter: {{command: {}, args: [server.py]}}}}}}\n", python.display());
    let files = [(".planspec.yaml", config.as_str()), ("server.py", SERVER), ("count.yaml", MANIFEST)];
    check(&TestEnvironment::with_files(&files));
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_of_the_official_sdk_is_called_by_http_with_a_secret_header() {
    let Some(python) = python("mcp") else { return };
    let mut server =
        Server(Command::new(python).args(["-c", SERVER, "http"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let config = format!(
        "providers: {{secrets: [KEY], network: {{allowPrivate: [\"127.0.0.1:{0}\"]}}, mcp: {{counter: {{url: \"http://127.0.0.1:{0}/mcp\", secretHeaders: {{X-Key: KEY}}}}}}}}\n",
        port.trim()
    );
    let files = [(".planspec.yaml", config.as_str()), ("count.yaml", MANIFEST)];
    let mut environment = TestEnvironment::with_files(&files);
    environment.set("KEY", "sesame-42");
    check(&environment);
}
