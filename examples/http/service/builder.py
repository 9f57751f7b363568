"""A service that builds and publishes images, or says so. Standard library only.

POST /builds answers at once. POST /publications answers 202, and GET on its location answers 202 once more before it is done.
A repeated request with the same Idempotency-Key starts nothing new. `builder.py PORT FILE` goes on in the
background, writes the id of its process to FILE, and ends by itself after ten minutes.
"""

import hashlib
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOKS = {}
WORK = {}


class Builder(BaseHTTPRequestHandler):
    def answer(self, status, document, **headers):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def allowed(self):
        if self.headers.get("Authorization") == "Bearer " + os.environ["BUILD_TOKEN"]:
            return True
        self.answer(401, {"message": "the token is wrong"})
        return False

    def do_GET(self):
        if self.path == "/health":
            self.answer(200, {"ok": True})
        elif self.allowed():
            key = self.path.removeprefix("/publications/")
            if key not in WORK:
                self.answer(404, {"message": "no such publication"})
                return
            LOOKS[key] = LOOKS.get(key, 0) + 1
            if LOOKS[key] < 2:
                self.answer(202, {}, Retry_After="1")
            else:
                digest = "sha256:" + hashlib.sha256(WORK[key].encode()).hexdigest()[:12]
                self.answer(200, {"outputs": {"digest": digest}, "message": "published " + WORK[key]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.path == "/builds":
            image = "app:" + asked["inputs"]["ref"]
            self.answer(200, {"outputs": {"image": image}, "message": "built " + image})
        elif self.path == "/publications":
            key = hashlib.sha256(self.headers["Idempotency-Key"].encode()).hexdigest()[:16]
            WORK.setdefault(key, asked["inputs"]["image"])
            self.answer(202, {}, Location="/publications/" + key, Retry_After="1")
        else:
            self.answer(404, {"message": "no such work"})

    def do_DELETE(self):
        if self.allowed():
            WORK.pop(self.path.removeprefix("/publications/"), None)
            self.answer(200, {})

    def log_message(self, *_):
        pass


SERVER = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Builder)
if child := os.fork():
    with open(sys.argv[2], "w") as file:
        file.write(str(child))
    print("the builder listens")
    sys.exit()
os.dup2(os.open(os.devnull, os.O_RDWR), 1)
os.dup2(1, 2)
signal.alarm(600)
SERVER.serve_forever()
