"""Clients that public generators make of our OpenAPI documents: they compile, and list the VENs of a running VTN."""

from pathlib import Path

import pytest

from support.generated_clients import need_node, python_clients, run, typescript_clients, write_documents

from .conftest import Vtn

pytestmark = pytest.mark.slow

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


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    write_documents(tmp_path)
    return tmp_path


@pytest.fixture
async def access(vtn: Vtn) -> dict[str, str]:
    for name in ("Mill Lane 1", "Mill Lane 2"):
        await vtn.desk.post("/vens", {"name": name})
    url = vtn.api.removesuffix("/v1")
    return {"URL": url, "TOKEN": vtn.token, "CA": str(vtn.ca), "NODE_EXTRA_CA_CERTS": str(vtn.ca)}


async def test_a_python_client_loses_nothing_and_lists_vens(documents: Path, access: dict[str, str]) -> None:
    python = python_clients(documents)
    (documents / "list.py").write_text(_LIST_WITH_PYTHON)
    listed = run(python, "list.py", cwd=documents, **access)
    assert listed.split("\n")[0] == "Mill Lane 1 Mill Lane 2 None"


async def test_a_typescript_client_compiles_strictly_and_lists_vens(documents: Path, access: dict[str, str]) -> None:
    need_node()
    (documents / "list.ts").write_text(_LIST_WITH_TYPESCRIPT)
    typescript_clients(documents, "list")
    listed = run("node", "list.js", cwd=documents, **access)
    assert listed.split("\n")[0] == "Mill Lane 1 Mill Lane 2 null"
