"""Lost reply: the connection to the database is cut between COMMIT and its answer.

Pass: the client sees 503; sent again with its key it gets the first answer with 201; there is one row.
"""

from uuid import uuid4

from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.proxy import Proxy

SHORT = True


async def run(report: Report, *, short: bool) -> None:
    proxies: list[Proxy] = []

    def through(url: str) -> str:
        proxies.append(Proxy(url, to_client=cut_commit))
        return proxies[0].url()

    armed = [False]

    def cut_commit(data: bytes) -> bytes:
        if armed[0] and b"COMMIT\0" in data:
            armed[0] = False
            proxies[0].cut()
            return b""
        return data

    outcomes, rows = [], []
    async with stage(workers=1, through=through, start=False) as on, proxies[0]:
        on.service.start()
        await on.service.until_ready()
        _, headers = await on.new_user()
        for _ in range(3 if short else 20):
            title, keyed = f"chaos {uuid4()}", headers | {"Idempotency-Key": str(uuid4())}
            armed[0] = True
            statuses: list[int] = []
            while not statuses or statuses[-1] == 503:
                url = f"{on.service.base}/api/v1/tasks"
                async with on.session.post(url, json={"title": title}, headers=keyed) as answer:
                    statuses.append(answer.status)
                    replayed = answer.headers.get("Idempotency-Replayed")
            outcomes.append((statuses[0], statuses[-1], replayed))
            rows.append((await on.rows("SELECT count(*) FROM tasks WHERE title = $1", title))[0][0])
    report.equals("first answer, last answer, replayed", set(outcomes), {(503, 201, "true")})
    report.equals("rows of each", set(rows), {1})
