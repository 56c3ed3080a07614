"""token_server.py CERT USER PASSWORD   what hands out a registry's bearer tokens, on a free port that it prints; its certificate goes to CERT.

Whoever has the password gets what is asked for; everybody may pull what lies below public/.
"""
import base64, datetime, json, sys, time, urllib.parse, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

cert_file, user, password = sys.argv[1:]
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab-issuer")])
now = datetime.datetime.now(datetime.timezone.utc)
cert = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
)
with open(cert_file, "wb") as file:
    file.write(cert.public_bytes(serialization.Encoding.PEM))


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(service, scopes, known):
    access = []
    for scope in scopes:
        kind, repository, actions = scope.split(":")
        granted = [a for a in actions.split(",") if known or (a == "pull" and repository.startswith("public/"))]
        access.append({"type": kind, "name": repository, "actions": granted})
    der = base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode()
    header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
    seconds = int(time.time())
    claims = {"iss": "lab-issuer", "sub": user if known else "", "aud": service, "jti": str(uuid.uuid4()),
              "iat": seconds, "nbf": seconds - 60, "exp": seconds + 600, "access": access}
    signed = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return b".".join([signed, encoded(key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))]).decode()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        sent = self.headers.get("Authorization")
        if sent not in (None, basic):
            return self.send_error(401)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        scopes = [scope for given in query.get("scope", []) for scope in given.split(" ")]
        made = token(query["service"][0], scopes, sent == basic)
        body = json.dumps({"token": made, "access_token": made, "expires_in": 600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.send_error(405)  # what a client then asks with GET

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
