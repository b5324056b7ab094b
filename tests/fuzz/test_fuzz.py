"""Any body at all: never a 500, and never a stored value other than the one answered."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client import Api, User
from tests.families import DIALECTS, Dialect

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
MOMENTS = st.datetimes(timezones=st.timezones()).map(lambda value: value.isoformat())
LIKELY = {
    "title": TEXT,
    "description": st.none() | TEXT,
    "status": st.sampled_from(["TODO", "IN_PROGRESS", "COMPLETED", "completed"]),
    "completed": st.booleans(),
    "priority": st.sampled_from(["urgent", "HIGH", "Medium", "low"]),
    "due_date": st.none() | MOMENTS | st.dates().map(str),
    "dueDate": st.none() | st.dates().map(str),
    "tags": st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=22),
    "id": st.uuids().map(str),
}
LIKELY_BODIES = st.fixed_dictionaries({"title": TEXT}, optional={name: LIKELY[name] for name in list(LIKELY)[1:]})
ANY_BODIES = st.dictionaries(st.sampled_from([*LIKELY, "userId", "version", "x"]), JSON, max_size=6)
BODIES = st.one_of(LIKELY_BODIES, ANY_BODIES, JSON, LIKELY_BODIES.flatmap(lambda body: ANY_BODIES.map(body.__or__)))


def test_any_body_is_stored_as_answered_or_refused(database_url: str) -> None:
    """Drives its own event loop: hypothesis calls a plain function for each example."""
    from tests.conftest import make_settings, running_service

    async def all_examples() -> None:
        async with running_service(make_settings(database_url)) as api:
            ada = await api.new_user()
            loop = asyncio.get_running_loop()

            @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(BODIES, BODIES, st.sampled_from(DIALECTS))
            def example(first: Any, second: Any, family: Dialect) -> None:
                asyncio.run_coroutine_threadsafe(converse(api, ada, family, first, second), loop).result(20)

            await asyncio.to_thread(example)

    asyncio.run(all_examples())


async def converse(api: Api, ada: User, family: Dialect, first: Any, second: Any) -> None:
    created = await api.post(family.tasks(ada), first, as_=ada)
    assert created.status in {201, 400, 409, 422}, (first, created)
    if created.status != 201:
        assert created.problem() in {"validation-error", "malformed-body", "task-id-taken"}
        return
    path = family.task(ada, created.body["id"])
    assert (await api.get(path, as_=ada)).body == created.body
    for method in ("PUT", "PATCH"):
        updated = await api.send(method, path, second, as_=ada)
        assert updated.status in {200, 400, 422}, (second, updated)
        if updated.status == 200:
            assert (await api.get(path, as_=ada)).body == updated.body
    toggled = await api.patch(path + "/complete", as_=ada)
    assert (await api.get(path, as_=ada)).body == toggled.body
    assert (await api.delete(path, as_=ada)).status == 204
