#!/usr/bin/env python3
"""gitd.py PORT ROOT USERS.json: Git over smart HTTP on loopback, through `git http-backend`.

PORT 0 takes a free one; the first line of output is `port N`. USERS.json maps tokens to people:
{"TOKEN": {"login": "wendy", "push": true}}. A token comes as the password of Basic, or as Bearer; the user
name is ignored, as on Git hosts. A file `drop-acknowledgement` in a repository makes the server hang up once
after it has done a push, before it says so. It ends when its input does.
"""

import base64
import gzip
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
import urllib.parse

PORT, ROOT, USERS = int(sys.argv[1]), os.path.abspath(sys.argv[2]), json.load(open(sys.argv[3]))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def refuse(self, code, message, headers=()):
        body = message.encode()
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def who(self):
        header = self.headers.get("Authorization", "")
        if header.lower().startswith("basic "):
            token = base64.b64decode(header[6:]).decode()
            user, _, password = token.partition(":")
            token = password or user
        else:
            token = header.partition(" ")[2]
        return USERS.get(token) if header else None

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(parts)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def serve(self):
        url = urllib.parse.urlsplit(self.path)
        body = self.body() if self.command == "POST" else b""
        person = self.who()
        pushing = "git-receive-pack" in self.path
        if person is None:
            return self.refuse(401, "who are you?", [("WWW-Authenticate", 'Basic realm="git"')])
        if pushing and not person.get("push"):
            return self.refuse(403, f"Permission to {url.path} denied to {person['login']}.")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": urllib.parse.unquote(url.path),
            "QUERY_STRING": url.query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": person["login"],
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self.command == "POST" and pushing and self.drops(url.path):
            self.close_connection = True
            return
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        code, headers = 200, []
        for line in head.split(b"\r\n"):
            name, _, value = line.decode().partition(": ")
            if name.lower() == "status":
                code = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def drops(self, path):
        repository = os.path.normpath(ROOT + os.path.dirname(path))
        try:
            os.remove(os.path.join(repository, "drop-acknowledgement"))
            return True
        except FileNotFoundError:
            return False

    do_GET = do_POST = serve


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64


server = Server(("127.0.0.1", PORT), Handler)
print("port", server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
