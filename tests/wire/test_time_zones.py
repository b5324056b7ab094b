"""Which names are zones."""

from todo_service.wire.time_zones import MOST_LOOKED_UP, Zones


def test_names_of_zones() -> None:
    zones = Zones()
    for name in ("Europe/Berlin", "/mozilla.org/20070129_1/Europe/Berlin", "W. Europe Standard Time", "Europe/Berlin/"):
        assert str(zones[name]) == "Europe/Berlin"
    assert str(zones["/x/America/Argentina/Buenos_Aires"]) == "America/Argentina/Buenos_Aires"
    for name in ("", "/", "America", "posixrules", "Mars/Base", "..", "../UT ", "a" * 300, "Two Words", "\0", "a\nb"):
        assert zones[name] is None


def test_a_file_cannot_have_any_number_of_names_looked_up() -> None:
    zones = Zones()
    for n in range(2 * MOST_LOOKED_UP):
        assert zones[f"Zone {n}"] is None
    assert len(zones) == MOST_LOOKED_UP
    assert str(zones["Europe/Berlin"]) == "Europe/Berlin"
