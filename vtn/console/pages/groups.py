"""Groups of VENs."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from vtn.console.page import Visit, page
from vtn.services import fleet
from web.auth import Role
from web.model import Model
from web.pages.forms import Form


class _Name(Model):
    name: Annotated[str, Field(max_length=80)]


@page("GET", "/groups", role=Role.VIEWER)
async def list_groups(visit: Visit) -> web.StreamResponse:
    """Show all groups."""
    return await _list(visit, Form())


async def _list(visit: Visit, form: Form) -> web.Response:
    async with visit.desk.db.read() as conn:
        found = await fleet.groups(conn)
    return visit.render("fleet/groups.html", form=form, groups=found)


@page("POST", "/groups", role=Role.ADMIN)
async def create_group(visit: Visit) -> web.StreamResponse:
    """Create a group."""
    form = await visit.form()
    with form.catching("name"):
        wish = form.read(_Name)
        async with visit.desk.db.write() as tx:
            await fleet.create_group(tx, wish.name, visit.now, who=visit.who)
        return visit.redirect("/groups", notice=f"There is a group '{wish.name}' now. Put VENs into it from the fleet.")
    return await _list(visit, form)


@page("POST", "/groups/{group_id}/name", role=Role.ADMIN)
async def rename_group(visit: Visit, group_id: str) -> web.StreamResponse:
    """Give a group another name."""
    form = await visit.form()
    with form.catching():
        wish = form.read(_Name)
        async with visit.desk.db.write() as tx:
            await fleet.rename_group(tx, group_id, wish.name, visit.now, who=visit.who)
        return visit.redirect("/groups", notice=f"The group is called '{wish.name}' now.")
    return await _list(visit, form)


@page("POST", "/groups/{group_id}/deletion", role=Role.ADMIN)
async def delete_group(visit: Visit, group_id: str) -> web.StreamResponse:
    """Delete a group; its VENs stay."""
    async with visit.desk.db.write() as tx:
        await fleet.delete_group(tx, group_id, visit.now, who=visit.who)
    return visit.redirect("/groups", notice="The group is deleted; its VENs stay.")


PAGES = (list_groups, create_group, rename_group, delete_group)
