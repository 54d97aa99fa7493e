"""The season of a programme as a page: its events, its VENs, and both as files."""

from datetime import timedelta


async def test_a_season_shows_events_and_vens_and_gives_both_as_files(market) -> None:
    one = await market.bought()
    await market.at(one.ends_at + timedelta(seconds=1), turns=1)
    await market.at(one.ends_at + timedelta(hours=1), turns=2)
    season = f"/programmes/{market.homes.programme.id}/season"
    assert season in (await market.viewer.get(f"/programmes/{market.homes.programme.id}")).hrefs("/programmes/")
    page = await market.viewer.get(season)
    assert page.stat("Events").startswith("1")
    assert page.hrefs("/dispatches/") == [f"/dispatches/{one.dispatch_id}/result"]
    assert page.root.xpath("//figure[@id='season-energy']")
    assert page.hrefs("/fleet/")
    for address, head in ((f"{season}.csv", "programme_id,dispatch_id"), (f"{season}/vens.csv", "programme_id,first")):
        (asked,) = set(page.hrefs(address))
        assert (await market.viewer.get(asked)).text.startswith(head)
    (ven, *_) = page.hrefs("/fleet/")
    result = f"/dispatches/{one.dispatch_id}/result/vens/{ven.rpartition('/')[2]}"
    (address,) = (await market.viewer.get(result)).hrefs(f"{result}/report.pdf")
    cookies = {"Cookie": f"evenload-session={market.viewer.token}"}
    async with market.client.get(address, headers=cookies) as answer:
        assert (answer.status, answer.content_type) == (200, "application/pdf")
    page = await market.viewer.get(f"{season}?first=2020-01-01&until=2020-02-01")
    assert "No event has begun on these days." in page.main
    assert "such as 2026-01-31" in (await market.viewer.get(f"{season}?first=2020-02-31", 422)).fault("first")
    assert "366 days" in (await market.viewer.get(f"{season}?first=2020-01-01", 422)).main
