"""Groups of VENs."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from vtn.console.request import ConsoleRequest
from vtn.services import fleet
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _


class _Name(Model):
    name: Annotated[str, Field(max_length=80)]


@page("GET", "/groups", role=Role.VIEWER)
async def list_groups(request: ConsoleRequest) -> web.StreamResponse:
    """Show all groups."""
    return await _list(request, Form())


async def _list(request: ConsoleRequest, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        found = await fleet.groups(conn)
    return request.render("fleet/groups.html", form=form, groups=found)


@page("POST", "/groups", role=Role.ADMIN)
async def create_group(request: ConsoleRequest) -> web.StreamResponse:
    """Create a group."""
    form = await request.form()
    with form.catching("name"):
        wish = form.read(_Name)
        async with request.desk.db.write() as tx:
            await fleet.create_group(tx, wish.name, request.now, who=request.who)
        return request.redirect(
            "/groups", notice=_("Group %(group)s created. Add VENs to it on the Fleet page.", group=wish.name)
        )
    return await _list(request, form)


@page("POST", "/groups/{group_id}/name", role=Role.ADMIN)
async def rename_group(request: ConsoleRequest, group_id: str) -> web.StreamResponse:
    """Give a group another name."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Name)
        async with request.desk.db.write() as tx:
            await fleet.rename_group(tx, group_id, wish.name, request.now, who=request.who)
        return request.redirect("/groups", notice=_("Group renamed to %(group)s.", group=wish.name))
    return await _list(request, form)


@page("POST", "/groups/{group_id}/deletion", role=Role.ADMIN)
async def delete_group(request: ConsoleRequest, group_id: str) -> web.StreamResponse:
    """Delete a group; its VENs stay."""
    async with request.desk.db.write() as tx:
        await fleet.delete_group(tx, group_id, request.now, who=request.who)
    return request.redirect("/groups", notice=_("Group deleted. Its VENs stay in the fleet."))


PAGES = (list_groups, create_group, rename_group, delete_group)
