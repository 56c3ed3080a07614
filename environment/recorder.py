"""A forward proxy that records what its clients send; standard library, and `cryptography` for certificates.

recorder.py --aws URL --certs DIR --log FILE      tells its port on stdout, ends when stdin does
  GET /path              as an AWS endpoint: passed on to --aws; /v2/ answers as a registry that asks for Basic credentials
  GET http://host/path   as a proxy for http: passed on to --aws, whatever the host
                         (a host that starts with "broken." gets no answer)
  CONNECT host:port      as a proxy for https: 127.0.0.1, localhost and api.lab.invalid are tunnelled to that port of this machine; for any
                         other host, TLS ends here with a certificate of the lab's CA, and the requests go to --aws
Every request is one JSON line in FILE:
  {"via": "direct"|"http"|"connect"|"tunnel", "host", "method", "path", "form": {...}, "key": access key id, "region", "service",
   "session": session token, "authorization", "proxy_authorization", "agent"}
"""
import argparse, datetime, http.client, json, os, re, socket, ssl, sys, tempfile, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = {"127.0.0.1", "localhost", "api.lab.invalid"}
LOCK, CONTEXTS = threading.Lock(), {}


def context(host):
    """TLS as that host, signed by the lab's CA."""
    with LOCK:
        if host not in CONTEXTS:
            read = lambda name: open(f"{A.certs}/{name}", "rb").read()
            ca, ca_key = x509.load_pem_x509_certificate(read("ca.crt")), serialization.load_pem_private_key(read("ca.key"), None)
            key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
            cert = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recorder")])).issuer_name(ca.subject)
                    .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
                    .not_valid_after(now + datetime.timedelta(days=1)).add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
                    .sign(ca_key, hashes.SHA256()))
            with tempfile.NamedTemporaryFile(dir=A.certs, delete=False) as f:
                f.write(cert.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
            CONTEXTS[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            CONTEXTS[host].load_cert_chain(f.name)
            os.unlink(f.name)
        return CONTEXTS[host]


def pump(one, other):
    try:
        while data := one.recv(1 << 16):
            other.sendall(data)
    except OSError:
        pass
    for s in (one, other):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm, inside = "HTTP/1.1", True, None

    def log_message(self, *a):
        pass

    def record(self, via, host, path="", body=b""):
        h, scope = self.headers, re.search(r"Credential=([^/]+)/\d+/([^/]+)/([a-z0-9-]+)/", self.headers.get("Authorization", ""))
        line = {"via": via, "host": host, "method": self.command, "path": path, "form": dict(parse_qsl(body.decode("latin-1"))) if b"Action=" in body else {},
                "key": scope[1] if scope else "", "region": scope[2] if scope else "", "service": scope[3] if scope else "",
                "session": h.get("x-amz-security-token", ""), "authorization": h.get("Authorization", ""),
                "proxy_authorization": h.get("Proxy-Authorization", ""), "agent": h.get("User-Agent", "")}
        with LOCK:
            LOG.write(json.dumps(line) + "\n"); LOG.flush()

    def do_CONNECT(self):
        host, _, port = self.path.rpartition(":")
        if host in HERE:
            self.record("tunnel", host)
            upstream = socket.create_connection(("127.0.0.1", int(port)))
        self.send_response_only(200, "Connection established"); self.end_headers(); self.wfile.flush()
        if host in HERE:
            threading.Thread(target=pump, args=(upstream, self.connection), daemon=True).start()
            pump(self.connection, upstream)
            self.close_connection = True
            return
        self.proxy_authorization = self.headers.get("Proxy-Authorization", "")
        self.connection = context(host).wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile, self.inside, self.close_connection = self.connection.makefile("rb"), self.connection.makefile("wb"), host, False

    def any(self):
        url, body = urlsplit(self.path), self.rfile.read(int(self.headers.get("Content-Length") or 0))
        via = "connect" if self.inside else "http" if url.netloc else "direct"
        self.record(via, self.inside or url.netloc or self.headers.get("Host", ""), url.path, body)
        if "broken." in (self.inside or url.netloc):
            self.close_connection = True
            return
        if url.path.startswith("/v2/"):
            self.answer(401, [("WWW-Authenticate", 'Basic realm="lab"'), ("Content-Type", "application/json")], b'{"errors": []}')
            return
        target = urlsplit(A.aws)
        upstream = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
        upstream.request(self.command, (url.path or "/") + (f"?{url.query}" if url.query else ""), body or None, headers)
        response = upstream.getresponse()
        data = response.read()
        keep = [(k, v) for k, v in response.getheaders() if k.lower() not in ("content-length", "transfer-encoding", "connection")]
        self.answer(response.status, keep, data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = any

    def answer(self, status, headers, data):
        self.send_response_only(status)
        for k, v in headers + [("Content-Length", str(len(data)))]:
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(data); self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, request, client_address):
        pass   # a client that went away, or does not trust us


p = argparse.ArgumentParser(usage=__doc__)
for name in ("--aws", "--certs", "--log"):
    p.add_argument(name, required=True)
A = p.parse_args()
LOG = open(A.log, "a")
server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
