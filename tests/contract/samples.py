"""One realistic sample of every command and event, built from the models' fields; no randomness, no clock.

`python -m tests.contract.samples write-missing` writes the golden samples that are missing and never touches one that
exists: a released event version stays as it is for ever.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import NAMESPACE_URL, uuid5

from contracts.base import Event
from contracts.envelope import Actor
from contracts.limits import DueRule, Limit, Offset
from contracts.registry import ContractRegistry, MessageType
from contracts.types import (
    Code,
    ErasableText,
    Instant,
    Line,
    MessageId,
    Paragraph,
    PersonId,
    Sha256,
    StreamId,
    TextRef,
)
from domain.kernel import Recorded
from services.eventlog.codec import EventCodec
from services.registry import REGISTRY

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MANIFEST = GOLDEN / "SHA256SUMS"
ORGANISATION, PROGRAMME, SOURCE = "SVHTTDL", "SVHTTDL-TD500", "QLVB"
OCCURRED, RECORDED = datetime(2026, 6, 4, 3, 15, tzinfo=UTC), datetime(2026, 6, 4, 3, 15, 2, 250_000, tzinfo=UTC)
DIGEST = sha256("Sáu rõ".encode()).hexdigest()

# what a field says when its name tells more than its type
_NAMED: dict[str, Any] = {
    "person": "PBCXB-TP",
    "post": "PBCXB-TP",
    "posts": ["GD"],
    "unit": "PBCXB",
    "lead_unit": "PBCXB",
    "authority": "KY-KET-QUA",
    "addressee": "GD",
    "aggregator": "VPS",
    "checked_by": "VPS-CVP",
    "phase": "P1",
    "to_phase": "P2",
    "from_phase": "P1",
    "recipient": "PBCXB-TP",
    "number": "500/KH-SVHTTDL",
    "title_vi": "Kế hoạch thi đua 500 ngày",
    "title_en": "Emulation plan of 500 days",
    "name_vi": "Phòng Báo chí, Xuất bản",
    "name_en": "Press and Publishing Division",
    "system": "QLVB",
    "work": "Trình kế hoạch tuyên truyền quý III",
    "responsibility": "Chịu trách nhiệm trước Giám đốc về tiến độ và chất lượng",
    "what": "Báo cáo kết quả có số liệu kèm theo",
    "reason": "Chờ ý kiến của Sở Tài chính",
    "note": "Đã đối chiếu với số liệu của Văn phòng",
    "source": "KH 500, mục III.2",
    "cause_text": "Hồ sơ của đơn vị phối hợp đến chậm",
    "issuer": "Ủy ban nhân dân Thành phố",
    "resolved": "Theo bản có dấu",
    "kind": "WORK",
    "category": "KEY",
    "tags": ["CHUYEN-DOI-SO"],
    "coordinating_units": ["VPS"],
    "named": ["PBCXB", "VPS"],
    "entries": ["PBCXB"],
    "successors": ["VPS"],
    "submitter": "PBCXB-TP",
    "requested_by": "PBCXB-TP",
    "from_person": "PBCXB-TP",
    "to_person": "VPS-CVP",
    "from_unit": "PBCXB",
    "to_unit": "VPS",
    "recipients": ["PBCXB-TP"],
    "collective": "PBCXB",
    "individual": "PBCXB-CV1",
    "head": "PBCXB-TP",
    "parent": "T-00",
    "sample_fields": ["authority"],
    "missing": ["authority"],
    "percent": 60,
    "partly_done_percent": 40,
    "day": date(2026, 6, 5),
    "year": 2027,
    "end_year": 2027,
    "end": date(2026, 8, 31),
    "valid_to": date(2027, 1, 1),
    "window_end": date(2027, 9, 30),
    "correction": 2,
    "update_every_days": 7,
    "target": 90.5,
}
# models whose fields depend on each other
_WHOLE: dict[type[Any], dict[str, Any]] = {
    Limit: {"at": "2026-06-05T08:00:00Z", "boundary": "before", "named": "2026-06-05T15:00"},
    Offset: {"days": -3, "hours": -2},
    DueRule: {
        "frequency": "monthly",
        "boundary": "before",
        "day_of_month": 25,
        "month_of_period": "reporting",
        "time": "15:00:00",
    },
}
# named types, as annotations write them
_TYPED: tuple[tuple[Any, Any], ...] = (
    (Code, "A-01"),
    (MessageId, "018f9c5e-7a10-7cc0-8000-000000000001"),
    (StreamId, f"obligation/{PROGRAMME}/BC-W-2026W23"),
    (PersonId, "P-7F3K9Q"),
    (Sha256, DIGEST),
    (Instant, "2026-06-04T10:15:00+07:00"),
    (Line, "Báo cáo kết quả tuần, kèm số liệu"),
    (Paragraph, "Rà soát, hoàn thiện hồ sơ.\nBáo cáo trước 15 giờ thứ Năm."),
    (ErasableText, "Trưởng phòng đề nghị bổ sung nhân lực"),
)
# types whose values have a form of their own, whatever the field is called
_OWN = (Instant, MessageId, StreamId, PersonId, Sha256, ErasableText)
_PLAIN: dict[Any, Any] = {str: "text", int: 1, float: 1.5, bool: True, date: date(2026, 6, 1), time: time(15)}


def fields_of(model: Any) -> dict[str, Any]:
    """The model's fields with their annotations, constraints included."""
    hints = _hints(model)
    return {name: hints[name] for name in model.__pydantic_fields__}


@cache
def _hints(model: Any) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


def without_none(hint: Any) -> Any:
    """The annotation of an optional field without `None`."""
    if get_origin(hint) in (Union, UnionType):
        rest = [part for part in get_args(hint) if part is not NoneType]
        return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007  # built at run time
    return hint


def typed(hint: Any) -> Any | None:
    """The sample of a named type, None for other annotations."""
    return next((value for known, value in _TYPED if hint == known), None)


def bare(hint: Any) -> Any:
    """The annotation without its constraints."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def constraint(hint: Any, name: str) -> Any | None:
    """A bound such as `ge` or `max_length` among the constraints of an annotation."""
    for part in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        for item in (part, *getattr(part, "metadata", ())):
            if (bound := getattr(item, name, None)) is not None:
                return bound
    return None


def sample(model: type[Any]) -> dict[str, Any]:
    """A JSON object the model accepts, every field filled."""
    if model in _WHOLE:
        return dict(_WHOLE[model])
    return {name: _value(name, without_none(hint)) for name, hint in fields_of(model).items()}


def _value(name: str, hint: Any) -> Any:
    inner = bare(hint)
    if hint not in _OWN and name in _NAMED and _fits(_NAMED[name], inner):
        return _json(_NAMED[name])
    if (known := typed(hint)) is not None:
        return known
    if get_origin(inner) in (tuple, Union, UnionType, Literal):
        return _of_parts(name, hint, inner)
    if inner is TextRef:
        return {"ref": str(uuid5(NAMESPACE_URL, name)), "digest": DIGEST}
    if hasattr(inner, "__pydantic_fields__"):
        return sample(inner)
    return max(1, constraint(hint, "ge") or 0) if inner is int else _json(_PLAIN[inner])


def _of_parts(name: str, hint: Any, inner: Any) -> Any:
    first = get_args(inner)[0]
    if get_origin(inner) is tuple:
        return [_value(name, without_none(first))] * (constraint(hint, "min_length") or 1)
    return first if get_origin(inner) is Literal else _value(name, first)


def _fits(value: Any, inner: Any) -> bool:
    if get_origin(inner) is tuple:
        return isinstance(value, list) and get_args(inner)[0] in (Code, Line)
    return isinstance(inner, type) and isinstance(value, inner)


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | time) else value


def subject_of(aggregate: str) -> str:
    """A stream of the aggregate."""
    codes = {"organisation": ORGANISATION, "programme": PROGRAMME, "phase": f"{PROGRAMME}/P1"}
    return f"{aggregate}/{codes.get(aggregate, f'{PROGRAMME}/T-01')}"


def command(known: MessageType[Any]) -> dict[str, Any]:
    """A command in its envelope, as a sender writes it, every attribute filled."""
    subject = subject_of(known.aggregate)
    return {
        "specversion": "1.0",
        "id": str(uuid5(NAMESPACE_URL, known.type)),
        "source": SOURCE,
        "type": known.type,
        "subject": subject,
        "time": "2026-06-04T10:15:00+07:00",
        "datacontenttype": "application/json",
        "dataschema": f"urn:sauro:schema:{known.type}",
        "organisation": ORGANISATION,
        "programme": subject.split("/")[1],
        "actorpost": "PBCXB-TP",
        "actorunit": "PBCXB",
        "actoronbehalf": "GD",
        "actorauthority": "KY-KET-QUA",
        "correlationid": "018f9c5e-7a10-7cc0-8000-000000000001",
        "causationid": "018f9c5e-7a10-7cc0-8000-000000000002",
        "expectedversion": 3,
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": sample(known.model),
    }


def event(known: MessageType[Event]) -> Recorded[Event]:
    """An event with what surrounds it, every attribute filled."""
    command_id = str(uuid5(NAMESPACE_URL, f"command/{known.type}"))
    return Recorded(
        data=known.model.model_validate_json(json.dumps(sample(known.model))),
        stream=subject_of(known.aggregate),
        version=3,
        occurred_at=OCCURRED,
        recorded_at=RECORDED,
        actor=Actor(post="PBCXB-TP", unit="PBCXB", on_behalf="GD", authority="KY-KET-QUA"),
        organisation=ORGANISATION,
        programme=subject_of(known.aggregate).split("/")[1],
        sender=SOURCE,
        command_id=command_id,
        correlation_id=command_id,
        causation_id=command_id,
        id=str(uuid5(NAMESPACE_URL, known.type)),
        position=1042,
        policy_version=1,
    )


def stored(codec: EventCodec, recorded: Recorded[Any]) -> bytes:
    """The bytes of an event as the log holds them."""
    return codec.stored(recorded.position, recorded.recorded_at, codec.tail(recorded))


def write_missing(registry: ContractRegistry, folder: Path = GOLDEN) -> Iterator[Path]:
    """Write samples of event types that have none and enter them in the manifest; existing files stay as they are."""
    codec = EventCodec(registry)
    folder.mkdir(parents=True, exist_ok=True)
    for type_, known in sorted(registry.events.items()):
        path = folder / f"{type_}.json"
        if not path.exists():
            content = stored(codec, event(known)) + b"\n"
            path.write_bytes(content)
            with (folder / MANIFEST.name).open("a") as manifest:
                manifest.write(f"{sha256(content).hexdigest()}  {path.name}\n")
            yield path


if __name__ == "__main__":
    if sys.argv[1:] != ["write-missing"]:
        sys.exit("usage: python -m tests.contract.samples write-missing")
    for written in write_missing(REGISTRY.contracts):
        print(f"written {written.name}")
