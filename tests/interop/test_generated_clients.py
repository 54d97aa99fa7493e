"""Clients that public generators make of our OpenAPI documents: they compile, and list the VENs of a running VTN."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.brp_api import brp_api
from evenload.aggregator_app import with_market
from evenload.server import operator_api

from .conftest import Vtn

pytestmark = pytest.mark.slow

_PYTHON_GENERATOR = "openapi-python-client==0.29.1"
_NODE_TOOLS = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
_LIST_WITH_PYTHON = """\
import os
from evenload_operator_api_client import AuthenticatedClient
from evenload_operator_api_client.api.vens import list_vens

client = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["TOKEN"], verify_ssl=os.environ["CA"])
page = list_vens.sync(client=client)
print(*(ven.name for ven in page.items), page.next_)
"""
_LIST_WITH_TYPESCRIPT = """\
import createClient from "openapi-fetch";
import type { paths } from "./operator.js";

const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const client = createClient<paths>({ baseUrl: process.env.URL!, headers });
const { data, error } = await client.GET("/v1/vens", { params: { query: { limit: 10 } } });
if (error || !data) throw new Error(JSON.stringify(error));
console.log(...data.items.map((ven) => ven.name), data.next);
"""


def _run(*command: str | Path, cwd: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env=clean | environment, timeout=300
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    for name, api in (("operator", with_market(operator_api())), ("brp", brp_api())):
        (tmp_path / f"{name}.json").write_text(json.dumps(api.document()))
    return tmp_path


@pytest.fixture
async def access(vtn: Vtn) -> dict[str, str]:
    for name in ("Mill Lane 1", "Mill Lane 2"):
        await vtn.desk.post("/vens", {"name": name})
    url = vtn.api.removesuffix("/v1")
    return {"URL": url, "TOKEN": vtn.token, "CA": str(vtn.ca), "NODE_EXTRA_CA_CERTS": str(vtn.ca)}


async def test_a_python_client_loses_nothing_and_lists_vens(documents: Path, access: dict[str, str]) -> None:
    environment = documents / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=documents)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment)
    _run(*pip, "install", "-q", _PYTHON_GENERATOR, cwd=documents)
    path = f"{environment}/bin:{os.environ['PATH']}"
    for name in ("operator", "brp"):
        told = _run(
            environment / "bin" / "openapi-python-client", "generate", "--meta", "none", "--path", f"{name}.json",
            "--output-path", f"evenload_{name}_api_client", cwd=documents, PATH=path,
        )  # fmt: skip
        lost = [line for line in told.splitlines() if line.startswith(("WARNING", "Unable")) and "ca.pem" not in line]
        assert not lost, told
        _run(environment / "bin" / "python", "-m", "compileall", "-q", f"evenload_{name}_api_client", cwd=documents)
    (documents / "list.py").write_text(_LIST_WITH_PYTHON)
    listed = _run(environment / "bin" / "python", "list.py", cwd=documents, **access)
    assert listed.split("\n")[0] == "Mill Lane 1 Mill Lane 2 None"


async def test_a_typescript_client_compiles_strictly_and_lists_vens(documents: Path, access: dict[str, str]) -> None:
    if shutil.which("npm") is None:
        hint = "These clients need Node.js and npm; install them with your package manager."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(hint)
    (documents / "package.json").write_text('{"private": true, "type": "module"}')
    _run("npm", "install", "--silent", "--no-fund", "--no-audit", *_NODE_TOOLS, cwd=documents)
    tools = documents / "node_modules" / ".bin"
    for name in ("operator", "brp"):
        _run(tools / "openapi-typescript", f"{name}.json", "-o", f"{name}.d.ts", cwd=documents)
    (documents / "list.ts").write_text(_LIST_WITH_TYPESCRIPT)
    options = ("--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable")
    node_globals = "declare const process: { env: Record<string, string | undefined> };\n"
    (documents / "node.d.ts").write_text(node_globals)
    _run(tools / "tsc", *options, "list.ts", "node.d.ts", "brp.d.ts", cwd=documents)
    listed = _run("node", "list.js", cwd=documents, **access)
    assert listed.split("\n")[0] == "Mill Lane 1 Mill Lane 2 null"
