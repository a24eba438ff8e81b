"""A registry on the loopback that gives out what OCI layouts hold, also in ranges, and counts what it gives."""

import http.server
import json
import re
import sys
import threading


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # A client may leave when it has what it wants; all else is told.
        if not isinstance(sys.exc_info()[1], (BrokenPipeError, ConnectionResetError)):
            super().handle_error(request, client_address)


class Registry:
    """Serves {name: layout}; each image is name:1. To be used with `with`."""

    def __init__(self, layouts):
        self.layouts = layouts
        self.sent = {}  # {digest: bytes of the blob that were given out}
        self.whole = set()  # digests of blobs that were given out as a whole
        self._counted = threading.Lock()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry._answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def forget(self):
        """Counts from now on."""
        self.sent, self.whole = {}, set()

    def manifest(self, name):
        """The manifest of an image, its digest and its media type."""
        with open(f"{self.layouts[name]}/index.json", encoding="utf-8") as file:
            entry = json.load(file)["manifests"][0]
        return self._blob(name, entry["digest"]), entry["digest"], entry["mediaType"]

    def _blob(self, name, digest):
        with open(f"{self.layouts[name]}/blobs/{digest.replace(':', '/')}", "rb") as file:
            return file.read()

    def _answer(self, request):
        if request.path == "/v2/":
            return _send(request, 200, b"{}", {"Content-Type": "application/json"})
        asked = re.fullmatch(r"/v2/([a-z]+)/(manifests|blobs)/([a-z0-9:]+)", request.path)
        if not asked or asked[1] not in self.layouts:
            return _send(request, 404, b"{}", {})
        name, kind, what = asked.groups()
        if kind == "manifests":
            data, digest, media = self.manifest(name)
            return _send(request, 200, data, {"Content-Type": media, "Docker-Content-Digest": digest})
        data = self._blob(name, what)
        ranges = request.headers.get("Range")
        if not ranges:
            with self._counted:
                self.whole.add(what)
                self.sent[what] = self.sent.get(what, 0) + len(data)
            return _send(request, 200, data, {"Content-Type": "application/octet-stream"})
        parts = [(int(first), min(int(last), len(data) - 1)) for first, last in re.findall(r"(\d+)-(\d+)", ranges)]
        with self._counted:
            self.sent[what] = self.sent.get(what, 0) + sum(last + 1 - first for first, last in parts)
        told = [f"bytes {first}-{last}/{len(data)}" for first, last in parts]
        pieces = [data[first:last + 1] for first, last in parts]
        if len(parts) == 1:
            return _send(request, 206, pieces[0], {"Content-Range": told[0], "Content-Type": "application/octet-stream"})
        body = b"".join(b"\r\n--of-parts\r\nContent-Range: %s\r\nContent-Type: application/octet-stream\r\n\r\n%s"
                        % (line.encode(), piece) for line, piece in zip(told, pieces)) + b"\r\n--of-parts--\r\n"
        return _send(request, 206, body, {"Content-Type": "multipart/byteranges; boundary=of-parts"})


def _send(request, code, body, headers):
    request.send_response(code)
    for key, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(key, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
