#!/usr/bin/env python3
"""An object store for the tests: moto's server for S3, behind a check of every signature by botocore.

Usage: s3_server.py KEY_ID SECRET TOKEN REGION BUCKET BUSY

moto takes any signature. Here each request must be signed with these credentials for this region, as S3 itself demands it.
The first BUSY requests are answered with 503. The port is the first line on the standard output.
"""

import sys
from urllib.parse import parse_qsl, quote, urlencode

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

KEY_ID, SECRET, TOKEN, REGION, BUCKET, BUSY = sys.argv[1:]
CREDENTIALS = Credentials(KEY_ID, SECRET, TOKEN)


def signature(environ):
    """What the signature of a request must be."""
    query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    ours = {name: query.pop(name) for name in list(query) if name.startswith("X-Amz-")}
    # As it was sent: a path that is decoded and encoded again may be another one.
    path = environ["RAW_URI"].partition("?")[0]
    host = environ["HTTP_HOST"]
    url = f"http://{host}{path}"
    if query:
        url += "?" + urlencode(query, quote_via=quote)
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, headers={"host": host})
    request.context["timestamp"] = ours.get("X-Amz-Date", "")
    auth = S3SigV4QueryAuth(CREDENTIALS, "s3", REGION, expires=int(ours.get("X-Amz-Expires", "0")))
    auth._modify_request_before_signing(request)
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


def error(start, status, code):
    start(status, [("Content-Type", "application/xml")])
    return [f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()]


class Checked:
    """Lets through what is signed."""

    def __init__(self, app):
        self.app = app
        self.busy = int(BUSY)

    def __call__(self, environ, start):
        query = dict(parse_qsl(environ["QUERY_STRING"]))
        if self.busy > 0:
            self.busy -= 1
            return error(start, "503 Slow Down", "SlowDown")
        if "X-Amz-Signature" not in query:
            # The tests themselves, which write what others would write.
            if environ.get("HTTP_X_TEST") == SECRET:
                # moto lets nobody write who is unknown.
                scope = f"{KEY_ID}/20200101/{REGION}/s3/aws4_request"
                environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
                return self.app(environ, start)
            return error(start, "403 Forbidden", "AccessDenied")
        if query["X-Amz-Signature"] != signature(environ):
            return error(start, "403 Forbidden", "SignatureDoesNotMatch")
        return self.app(environ, start)


class Quiet(WSGIRequestHandler):
    """Says nothing about requests."""

    def log(self, *_):
        pass


s3_backends["123456789012"]["aws"].create_bucket(BUCKET, REGION)
app = Checked(DomainDispatcherApplication(create_backend_app))
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
print(server.port, flush=True)
server.serve_forever()
