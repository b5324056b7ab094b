"""Demonstration data: plausible people and tasks, the same for the same seed and day."""

from datetime import UTC, date, datetime, time, timedelta
from random import Random
from uuid import UUID

from todo_service.queries.task_rows import TaskRow

DAYS = 120  # the age of the oldest task
FIRST_NAMES = (
    "Ada", "Amir", "Bao", "Carla", "Chidi", "Dana", "Elif", "Emil", "Fatou", "Greta", "Hana", "Ines", "Ivan", "Jun",
    "Kofi", "Lena", "Maja", "Noor", "Olu", "Priya",
)  # fmt: skip
LAST_NAMES = (
    "Abara", "Bauer", "Chen", "Costa", "Dubois", "Eriksen", "Farah", "García", "Haddad", "Ito", "Jansen", "Khan",
    "López", "Meyer", "Novák", "Okafor",
)  # fmt: skip
TITLES = (
    "Renew the passport", "Call {who}", "Write to {who} about the invoice", "Book a table for {n}", "Buy {thing}",
    "Return {thing} to {who}", "Plan the offsite in {place}", "Review the draft of {who}", "Pay the electricity bill",
    "Order {n} boxes of {thing}", "Train tickets to {place}", "Prepare slides for {who}", "Fix the bicycle",
    "Water the plants", "Read chapter {n}", "Cancel the gym membership", "Back up the photos of {place}",
    "Find a present for {who}", "Clean the kitchen", "Dentist", "Sign the contract with {who}",
    "Try {thing} from {place}", "Update the budget, version {n}", "Ask {who} for {thing}",
)  # fmt: skip
THINGS = (
    "coffee filters",
    "printer paper",
    "a raincoat",
    "light bulbs",
    "oat milk",
    "the drill",
    "stamps",
    "crème fraîche",
)
PLACES = ("Lisbon", "Nairobi", "Osaka", "Kraków", "Montréal", "Jaipur", "Bergen", "Oaxaca")
TAGS = ("home", "work", "errand", "family", "health", "money", "travel", "reading", "urgent call", "someday", "garden")
NOTES = (
    "See the mail from {who}.", "Not before {n} o'clock.", "Ask {who} first, then decide.", "Costs about {n} euros.",
    "• list what is missing\n• compare prices\n• tell {who}", "It has waited long enough.", "https://example.com/{n}",
)  # fmt: skip
# More frequent values occur more often.
PRIORITIES = ("URGENT", *["HIGH"] * 3, *["MEDIUM"] * 8, *["LOW"] * 4)
STATUSES = (*["TODO"] * 5, *["IN_PROGRESS"] * 2, *["COMPLETED"] * 4)
TAG_COUNTS = (*[0] * 4, *[1] * 5, *[2] * 3, *[3] * 2, 5)


def person(seed: int, number: int, today: date) -> tuple[str, str, datetime]:
    """Return the id (a UUIDv7), full name and moment of sign-up of the demonstration's account of this number."""
    random = Random(f"{seed} person {number}")  # noqa: S311
    since = datetime.combine(today, time(), UTC) - timedelta(days=DAYS, seconds=random.randrange(86_400))
    return str(_uuid7(random, since)), f"{random.choice(FIRST_NAMES)} {random.choice(LAST_NAMES)}", since


def tasks_of(user_id: str, count: int, seed: int, number: int, today: date) -> tuple[TaskRow, ...]:
    """Return `count` tasks of this account in the order of their last changes, which is their `version`, from 1."""
    random = Random(f"{seed} tasks {number}")  # noqa: S311
    midnight = datetime.combine(today, time(), UTC)
    moments = []
    for _ in range(count):
        created = midnight - timedelta(seconds=random.uniform(60, DAYS * 86_400 - 60))
        is_old = random.random() < 0.6
        moments.append((created + (midnight - created) * random.random() if is_old else created, created))
    ordered = enumerate(sorted(moments), start=1)
    return tuple(_task(random, user_id, version, created, changed) for version, (changed, created) in ordered)


def _task(random: Random, user_id: str, version: int, created: datetime, changed: datetime) -> TaskRow:
    status = random.choice(STATUSES) if changed > created else "TODO"
    due_at, due_on = _due(random, created)
    return TaskRow(
        id=_uuid7(random, created),
        user_id=user_id,
        title=_filled(random, random.choice(TITLES)),
        description=_filled(random, random.choice(NOTES)) if random.random() < 0.35 else None,
        status=status,
        priority=random.choice(PRIORITIES),
        due_at=due_at,
        due_on=due_on,
        tags=random.sample(TAGS, random.choice(TAG_COUNTS)),
        created_at=created,
        updated_at=changed,
        completed_at=changed if status == "COMPLETED" else None,
        version=version,
    )


def _due(random: Random, created: datetime) -> tuple[datetime | None, date | None]:
    """Return a moment, a whole day, or neither; some are over."""
    kind, later = random.random(), created + timedelta(days=random.randrange(1, 2 * DAYS))
    if kind < 0.3:
        return later.replace(
            hour=random.randrange(7, 20), minute=random.choice((0, 15, 30)), second=0, microsecond=0
        ), None
    return None, later.date() if kind < 0.65 else None


def _filled(random: Random, text: str) -> str:
    if "{" not in text:
        return text
    return text.format(
        who=random.choice(FIRST_NAMES),
        thing=random.choice(THINGS),
        place=random.choice(PLACES),
        n=random.randrange(2, 30),
    )


def _uuid7(random: Random, moment: datetime) -> UUID:
    """Return a UUIDv7 (RFC 9562, 5.7) of this moment with random other bits."""
    bits = int(moment.timestamp() * 1000) << 80 | random.getrandbits(80)
    return UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
