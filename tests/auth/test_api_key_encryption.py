"""API keys at rest: only our keys open them, in their own place; a new first key takes over without loss."""

import base64
import json

import pytest
from cryptography.fernet import Fernet

from todo_service.auth.api_key_encryption import ApiKeyCipher, KeyContext

NEW, OLD, FOREIGN = (Fernet.generate_key().decode() for _ in range(3))
ADA, BOB = KeyContext("ada", "gemini"), KeyContext("bob", "gemini")
API_KEY = "AIzaSy-an-api-key-of-a-user"


def test_what_is_sealed_is_opened_in_its_place_alone() -> None:
    box = ApiKeyCipher([NEW])
    sealed = box.encrypt(API_KEY, ADA)
    assert box.decrypt(sealed, ADA) == API_KEY
    for elsewhere in (BOB, KeyContext("ada", "other"), KeyContext("", ""), KeyContext("ada", "GEMINI")):
        assert box.decrypt(sealed, elsewhere) is None
        assert box.reencrypt(sealed, elsewhere) is None


@pytest.mark.parametrize("user_id", ["é" * 255, '","gemini","x', "\u202e\t'\\", "a" * 255])
def test_any_id_is_bound(user_id: str) -> None:
    box, place = ApiKeyCipher([NEW]), KeyContext(user_id, "gemini")
    assert box.decrypt(box.encrypt(API_KEY, place), place) == API_KEY
    assert box.decrypt(box.encrypt(API_KEY, place), ADA) is None


def test_what_is_kept_says_nothing_and_never_the_same() -> None:
    box = ApiKeyCipher([NEW])
    sealed = {box.encrypt(API_KEY, ADA) for _ in range(20)}
    assert len(sealed) == 20
    for text in sealed:
        assert text.startswith("gAAAA")
        raw = base64.urlsafe_b64decode(text)
        assert API_KEY.encode() not in raw
        assert b"ada" not in raw


def test_every_changed_byte_is_noticed() -> None:
    box = ApiKeyCipher([NEW])
    raw = base64.urlsafe_b64decode(box.encrypt(API_KEY, ADA))
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert box.decrypt(base64.urlsafe_b64encode(changed).decode(), ADA) is None


@pytest.mark.parametrize("text", ["", "x", "gAAAA", "é", "\x80", "=" * 40, "gAAAAA=\n", "A" * 100_000])
def test_what_is_no_ciphertext_is_no_key(text: str) -> None:
    assert ApiKeyCipher([NEW]).decrypt(text, ADA) is None
    assert ApiKeyCipher([NEW]).reencrypt(text, ADA) is None


@pytest.mark.parametrize("inner", [API_KEY, "[]", '["ada"]', '["ada", "gemini"]', '["ada", "gemini", null]', "3", "{}",
                                   json.dumps(["ada", "gemini", API_KEY, 1]), '"ada"'])  # fmt: skip
def test_what_somebody_else_encrypted_under_our_key_is_no_key(inner: str) -> None:
    sealed = Fernet(NEW).encrypt(inner.encode()).decode()
    assert ApiKeyCipher([NEW]).decrypt(sealed, ADA) is None


def test_a_new_first_key_takes_over() -> None:
    before, between, after = ApiKeyCipher([OLD]), ApiKeyCipher([NEW, OLD]), ApiKeyCipher([NEW])
    sealed = before.encrypt(API_KEY, ADA)
    assert between.decrypt(sealed, ADA) == API_KEY
    assert (between.is_current(sealed, ADA), after.decrypt(sealed, ADA)) == (False, None)
    renewed = between.reencrypt(sealed, ADA)
    assert renewed
    assert renewed != sealed
    assert after.decrypt(renewed, ADA) == API_KEY
    assert between.is_current(renewed, ADA)
    assert not between.is_current(renewed, BOB)
    assert before.decrypt(renewed, ADA) is None
    assert after.decrypt(between.encrypt(API_KEY, ADA), ADA) == API_KEY, "the first one encrypts"
    assert ApiKeyCipher([FOREIGN]).reencrypt(sealed, ADA) is None
