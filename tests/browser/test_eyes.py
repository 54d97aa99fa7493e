"""What the walks rely on: faults on a page are found."""

import pytest
from browser.eyes import PHONE, looking

pytestmark = pytest.mark.asyncio(loop_scope="session")

_BAD = """<!doctype html><html lang="en"><head><title>x</title>
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="script-src 'none'">
</head><body><main><h1>x</h1><img src="data:,x"><p style="color:#ccc;background:#fff">pale</p>
<div style="width:600px">wide</div>
<div class="sheet" style="width:100px"><table style="width:300px"><tr><td>figures</td></tr></table></div>
<dl><div class="stat" style="width:60px"><dd style="overflow:hidden;white-space:nowrap">20.01 kilowatt hours</div></dl>
<table style="width:30px;table-layout:fixed"><tr><td style="overflow-wrap:anywhere"><bdi>homestead</bdi></table>
<label>one <select style="width:60px"><option>a choice that is long</option></select></label>
<div data-chart="c" style="width:100px;overflow:hidden"><canvas width="300"></canvas></div>
<script>alert(1)</script></main></body></html>"""
_GOOD = """<!doctype html><html lang="en"><head><title>x</title><meta name="viewport" content="width=device-width">
</head><body><main><h1>x</h1><p>dark</p></main></body></html>"""


async def test_faults_are_found(browser):
    async with looking(browser, "", PHONE) as eyes:
        await eyes.page.route("**/*", lambda route: route.fulfill(body=_BAD, content_type="text/html"))
        await eyes.go("http://console.example/bad")
        await eyes.judge()
    found = "\n".join(eyes.findings)
    for one in (
        "CSP: script-src",
        "image-alt",
        "color-contrast",
        "px wide in 390",
        "chart c is clipped",
        "leaves its card",
        "leaves its tile",
        '"homestead" of "homestead" is broken in two',
        "a choice that is long",
    ):
        assert one in found
    with pytest.raises(AssertionError, match="image-alt"):
        eyes.content()


async def test_a_sound_page_is_let_through(browser):
    async with looking(browser, "", PHONE) as eyes:
        await eyes.page.route("**/*", lambda route: route.fulfill(body=_GOOD, content_type="text/html"))
        await eyes.go("http://console.example/good")
        await eyes.judge()
        eyes.content()
