"""The pages that explain the service, and the files they are made of, as a client gets them."""

import gzip
import re

import pytest

from tests.client import Api
from tests.conftest import make_settings, running_service
from todo_service import static_files

PAGES = ("/docs", "/api/v1/docs", "/redoc", "/api/v1/redoc")
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src 'self'; "
POLICIES = {
    "docs": NOTHING + "style-src 'self'; img-src 'self' data:; connect-src 'self'",
    "redoc": NOTHING + "style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'",
}
FILES = static_files.by_path(docs=True)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_may_load_what_it_needs_and_no_more(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"] == POLICIES[path.rpartition("/")[2]]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    text = answer.raw.decode()
    assert "<style" not in text
    assert re.findall("<script[^>]*>(.+?)</script>", text) == []
    loaded = re.findall(r'(?:src|href)="(/[^"]*)"', text)
    assert loaded
    assert set(loaded) <= set(FILES)
    assert f'data-document="{path.rpartition("/")[0]}/openapi.json"' in text


@pytest.mark.parametrize("path", PAGES)
async def test_a_slash_at_the_end_makes_no_other_page(api: Api, path: str) -> None:
    with_slash, without = await api.get(f"{path}/"), await api.get(path)
    assert (with_slash.status, with_slash.raw) == (200, without.raw)


async def test_the_name_of_the_service_is_text(database_url: str) -> None:
    async with running_service(make_settings(database_url, app_name="</title><script>\"'&{title}")) as api:
        for path in (*PAGES, "/problems", "/problems/not-found"):
            page = (await api.get(path, headers={"Accept": "text/html"})).raw.decode()
            assert "&lt;/title&gt;&lt;script&gt;&quot;&#x27;&amp;{title}" in page
            assert "<script>" not in page


@pytest.mark.parametrize("path", FILES)
async def test_a_file_is_given_whole_or_compressed(api: Api, path: str) -> None:
    asset = FILES[path]
    tags = set()
    for accepted in ("gzip, br", "identity", "gzip;q=0"):
        answer = await api.get(path, headers={"Accept-Encoding": accepted})
        assert (answer.status, answer.raw) == (200, asset.body), "the client of these tests unpacks"
        assert answer.headers["Content-Type"] == f"{asset.content_type}; charset=utf-8"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers.get("Content-Encoding") == ("gzip" if accepted == "gzip, br" else None)
        tags.add(answer.headers["ETag"])
    assert len(tags) == 2, "other bytes, another tag"
    assert not any(tag.startswith("W/") for tag in tags)


async def test_a_big_file_goes_out_compressed_to_its_last_byte(api: Api) -> None:
    asset = static_files.read(static_files.SWAGGER_UI[1])
    headers = {"Accept-Encoding": "gzip"}
    async with api.session.get(api.base + asset.path, headers=headers, auto_decompress=False) as response:
        raw = await response.read()
    assert (len(raw), gzip.decompress(raw)) == (int(response.headers["Content-Length"]), asset.body)


async def test_who_has_a_file_does_not_get_it_again(api: Api) -> None:
    path = static_files.read(static_files.STYLE).path
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        tag = (await api.get(path, headers=headers)).headers["ETag"]
        again = await api.get(path, headers=headers | {"If-None-Match": tag})
        assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert again.headers["Vary"] == "Accept-Encoding"
        assert (await api.get(path, headers=headers | {"If-None-Match": '"0"'})).status == 200
    assert (await api.get(path, headers={"Accept-Encoding": "identity", "If-None-Match": '"x.gz"'})).status == 200


async def test_head_tells_what_get_would_send(api: Api) -> None:
    for path, asset in FILES.items():
        head = await api.send("HEAD", path, headers={"Accept-Encoding": "gzip"})
        assert (head.status, head.raw) == (200, b"")
        assert head.headers["Content-Length"] == str(len(asset.gzipped))


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "vendor/SHA256SUMS", "..%2f..%2f..%2fsettings.py", "%2e%2e/app.py", "swagger-init.js%00",
     "swagger-ui-bundle.js.gz", "LICENSE", "PAGES.CSS"],
)  # fmt: skip
async def test_what_is_not_listed_is_not_there(api: Api, name: str) -> None:
    digest = static_files.read(static_files.STYLE).digest
    for path in (f"/assets/{digest}/{name}", f"/assets/{name}", f"/assets/0/{name}", f"/static/{name}"):
        answer = await api.get(path)
        assert (answer.status, answer.problem()) == (404, "not-found")


async def test_a_file_is_at_its_own_digest_alone(api: Api) -> None:
    style, script = static_files.read(static_files.STYLE), static_files.read("redoc-init.js")
    crossed = style.path.replace(style.digest, script.digest)
    assert (await api.get(crossed)).status == 404


async def test_they_can_be_turned_off(database_url: str) -> None:
    async with running_service(make_settings(database_url, docs_enabled=False)) as api:
        for path in ("/openapi.json", "/api/v1/openapi.json"):
            async with api.session.get(api.base + path) as response:  # `api` holds answers to that document
                assert response.status == 404
        kept = {static_files.read(name).path for name in (static_files.STYLE, static_files.ICON)}
        for path in (*PAGES, *set(FILES) - kept):
            answer = await api.get(path)
            assert (answer.status, answer.problem()) == (404, "not-found"), path
        links = (await api.get("/")).body["links"]
        assert not {"docs", "redoc", "openapi"} & set(links)
        for path in kept:
            assert (await api.get(path)).status == 200, "the pages about problems stay"


async def test_opening_a_page_takes_a_small_part_of_the_limit(database_url: str) -> None:
    """Each file counts for the address, so that nobody fetches them without end; browsers keep them from then on."""
    async with running_service(make_settings(database_url, rate_limit_enabled=True, rate_limit_read=100)) as api:
        page = await api.get("/docs")
        loaded = re.findall(r'(?:src|href)="(/[^"]*)"', page.raw.decode())
        for path in loaded:
            last = await api.get(path)
        assert int(last.headers["X-RateLimit-Remaining"]) == 100 - 1 - len(loaded) >= 95


async def test_browsers_find_an_icon_where_they_look(api: Api) -> None:
    icon = await api.get("/favicon.ico")
    assert (icon.status, icon.headers["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
    assert icon.raw == static_files.read(static_files.ICON).body
    assert icon.headers["Cache-Control"] == "public, max-age=86400"
    assert (await api.get("/favicon.ico", headers={"If-None-Match": icon.headers["ETag"]})).status == 304
