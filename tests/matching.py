"""Stand-ins for what no test can know beforehand: `{"id": AN_ID} == answer`."""

import re

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_OPAQUE = re.compile(r"([\w-]+\.)?[\w-]{43}")  # on a cluster it names its user
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{43}")


class Like:
    """Equal to every string of one form."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.pattern.fullmatch(other) is not None

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"Like({self.pattern.pattern})"


A_MOMENT = Like(_MOMENT)
AN_ID = Like(_UUID7)
A_TOKEN = Like(_JWT)
A_REFRESH_TOKEN = Like(_OPAQUE)
