"""Each kind of secret in each kind of text from outside: none of them is shown or kept, in whatever form it comes."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.harness import tally
from tests.harness.demo_lms import DemoLms
from tests.harness.echo_server import REQUEST_HEADERS, http_answer, start_echo_server
from tests.harness.forked_site import ForkedSite
from tutor_transform_logs.demo.log_writer import Mix, write_log

USER = "the-user"
BASIC, BEARER, HEADER = 'p"ss&w/rd\\<é>', 't0k/en+"&=x', 'h3ader/+"&v'
STORE_SECRET, STORE_TOKEN, STORE_OPTION = 's3cr$t/of+"&the-store', 's3ss/ion"t0ken&+=', 'opti0n/"s3cret&'
CLICKHOUSE = 'ch"pass&/w\\<ord>'


def forms(secret: str) -> dict[str, str]:
    """How somebody may write a secret. Not those of the job's own code: this is what an attacker would look for."""
    raw = secret.encode()
    return {
        "plain": secret,
        "JSON": json.dumps(secret)[1:-1],
        "JSON as UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "Python": repr(secret)[1:-1],
        "HTML": html.escape(secret),
        "URL": quote(secret, safe=""),
        "form": quote_plus(secret),
        "base64": base64.b64encode(raw).decode().rstrip("="),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }


# In an answer's text: the forms of the secrets of this client, and what it has sent.
def text_of(secrets: list[str]) -> bytes:
    return "; ".join(form for secret in secrets for form in forms(secret).values()).encode() + b"; " + REQUEST_HEADERS


def lines_of(secrets: list[str]) -> str:
    """For a header, which has no line ends."""
    return text_of(secrets).decode()


Answers = dict[str, Callable[[list[str]], bytes]]
ANSWERS: Answers = {
    "a body of 400": lambda s: http_answer("400 Bad Request", text_of(s)),
    "a body of 404": lambda s: http_answer("404 Not Found", text_of(s)),
    "a body of 409": lambda s: http_answer("409 Conflict", text_of(s)),
    "a body of 413": lambda s: http_answer("413 Too Large", text_of(s)),
    "a body of 500": lambda s: http_answer("500 Internal Server Error", text_of(s)),
    "a body of 503": lambda s: http_answer("503 Unavailable", text_of(s)),
    "JSON of 422": lambda s: http_answer("422 No", json.dumps({"echo": text_of(s).decode()}).encode()),
    "HTML of 502": lambda s: http_answer("502 No", f"<p>{html.escape(text_of(s).decode())}</p>".encode()),
    "a type of 200": lambda s: http_answer("200 OK", b"[1]", Content_Type=lines_of(s)),
    "a body of 200": lambda s: http_answer("200 OK", text_of(s)),
    "a redirect": lambda s: http_answer("302 Found", b"", Location=f"https://a.example.org/{lines_of(s)}"),
    "a redirect's query": lambda s: http_answer("302 Found", b"", Location=f"https://a.example.org/?{lines_of(s)}"),
    "a redirect's user": lambda s: http_answer("302 Found", b"", Location=f"https://{quote(s[0], safe='')}@a.example/"),
    "a reason": lambda s: http_answer(f"503 {lines_of(s)}", b""),
    "no status line": lambda s: b"SSH-2.0 " + text_of(s) + b"\r\n\r\n",
    "a header that is none": lambda s: http_answer("503 No", b"", Oops="x\r\n\x01" + lines_of(s)),
    "a broken chunk": lambda s: http_answer("200 OK", text_of(s), Transfer_Encoding="chunked"),
    "ClickHouse's text": lambda s: http_answer(
        "500 No", b"Code: 27. DB::Exception: " + text_of(s), X_ClickHouse_Exception_Code="27"
    ),
    "ClickHouse's text of 403": lambda s: http_answer("403 No", b"Code: 497. DB::Exception: " + text_of(s)),
    "ClickHouse's text of 200": lambda s: http_answer("200 OK", b"Code: 241. DB::Exception: " + text_of(s)),
    "S3's XML": lambda s: http_answer("400 No", f"<Error><Message>{lines_of(s)}</Message></Error>".encode()),
}


def assert_hidden(world: ForkedSite, secrets: list[str], answer: str, **more: Any) -> None:
    """Run the job, which can't end well unless it checks, and look for the secrets wherever somebody might see them."""
    ran = world.run(lrs_max_wait_secs=0.1, lrs_timeout_secs=3, batch_size=30, **more)
    tally.add("faults")
    assert ran.status in ((0, 1) if more.get("command") == "check" else (1, 3, 4)), ran.detail
    assert "Traceback" not in ran.detail
    assert "report this" not in ran.detail
    places = {"stdout": ran.stdout, "stderr": ran.stderr}
    places |= {str(path): path.read_text("utf-8") for path in world.ledger.rglob("*") if path.is_file()}
    if answer in ("a body of 404", "a body of 503", "no status line") and not any(
        name.endswith("_port") for name in more
    ):
        assert any("***" in text for text in places.values()), f"nothing of the text is shown: {ran.detail}"
    for place, text in places.items():
        # As the text is, and as JSON and HTML have it that were made of it.
        for seen in (text, html.unescape(text), text.encode().decode("unicode_escape", "replace")):
            for secret in secrets:
                found = {how for how, form in forms(secret).items() if form in seen}
                assert not found, f"{answer}: {secret} is in {place} as {found}: {text[:2000]}"


@pytest.fixture
def logged(world: ForkedSite) -> ForkedSite:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    return world


def basic(port: int) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{port}/xAPI", "username": USER, "password": BASIC}


def bearer(port: int) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{port}/xAPI", "bearer": BEARER}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    ("endpoint", "secrets"), [(basic, [BASIC, f"{USER}:{BASIC}"]), (bearer, [BEARER])], ids=["basic", "bearer"]
)
def test_of_an_lrs(
    logged: ForkedSite, answer: str, endpoint: Callable[[int], dict[str, Any]], secrets: list[str]
) -> None:
    with start_echo_server(ANSWERS[answer](secrets)) as port:
        logged.to_lrs(endpoint(port))
        assert_hidden(logged, secrets, answer)
        assert_hidden(logged, secrets, answer, command="check")


@pytest.mark.parametrize("answer", [answer for answer in ANSWERS if " of 200" not in answer])
def test_of_a_routers_headers(logged: ForkedSite, demo_lms: DemoLms, answer: str) -> None:
    secrets = [HEADER, BASIC]
    with start_echo_server(ANSWERS[answer](secrets)) as port:
        demo_lms.add_router(
            f"http://127.0.0.1:{port}/caliper",
            backend_name="Caliper",
            auth_scheme="Basic",
            username=USER,
            password=BASIC,
            configurations={"headers": {"X-Api-Key": HEADER, "X-Other": f"Token {HEADER}"}},
        )
        logged.settings |= {"destination_provider": "LRS", "transformer_type": "caliper"}
        for name in ("key", "container", "prefix"):
            del logged.settings[f"destination_{name}"]
        assert_hidden(logged, secrets, answer, lms=demo_lms)


@pytest.mark.parametrize("answer", ANSWERS)
def test_of_clickhouse(logged: ForkedSite, answer: str) -> None:
    secrets = [CLICKHOUSE, f"{USER}:{CLICKHOUSE}"]
    with start_echo_server(ANSWERS[answer](secrets)) as port:
        target = {
            "destination_provider": "CLICKHOUSE",
            "clickhouse_url": f"http://127.0.0.1:{port}",
            "clickhouse_username": USER,
            "clickhouse_password": CLICKHOUSE,
            "clickhouse_database": "openedx",
        }
        for command in ("run", "check", "gaps"):
            assert_hidden(logged, secrets, answer, command=command, **target)


@pytest.mark.parametrize(
    ("provider", "role"), [("S3", "source"), ("S3", "destination"), ("S3", "ledger"), ("MINIO", "source")]
)
@pytest.mark.parametrize("answer", ANSWERS)
def test_of_an_object_store(logged: ForkedSite, answer: str, provider: str, role: str) -> None:
    secrets = [STORE_SECRET, *([STORE_TOKEN] if provider == "S3" else [])]
    with start_echo_server(ANSWERS[answer](secrets)) as port:
        target = {
            "provider": provider,
            "key": "AKIAKEY",
            "secret": STORE_SECRET,
            "token": STORE_TOKEN if provider == "S3" else None,
            "container": "bucket",
            "prefix": "logs/",
            "host": "127.0.0.1",
            "port": port,
            "secure": False,
        }
        settings = {f"{role}_{name}": value for name, value in target.items()}
        assert_hidden(logged, secrets, answer, **settings)


def test_a_bug_and_a_warning_show_none(logged: ForkedSite, tmp_path: Path) -> None:
    """A traceback has the text of the exception, whatever raised it."""
    from tutor_transform_logs.lms_job.util.secrets import hide_known, remember

    remember([BASIC, ""])
    for form in forms(BASIC).values():
        assert form not in hide_known(f"before {form} after")
    assert hide_known("before and after") == "before and after"
    assert not STORE_OPTION.isalnum()
