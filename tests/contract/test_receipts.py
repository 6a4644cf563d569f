"""What intake publishes of a receipt is what the contract's model says of it, to the byte (R-356)."""

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.receipts import Receipt, Refusal
from contracts.types import Code, StreamId
from services.intake.given import Given

AT = datetime(2026, 6, 2, 1, 0, tzinfo=UTC)
REFUSED = Refusal(rule="ChildrenOpen", field="subject", message='còn việc "con" \\ chưa xong\n\t\x01\x7f 🙂')
GIVEN = {
    "accepted": Given("DMS-1", "0198c0de-0001", "accepted", 753, AT.replace(microsecond=104_219), (1101, 1102), 5),
    "accepted, no event": Given("DMS-1", "0198c0de-0002", "accepted", 754, AT, (), 5),
    "milliseconds": Given("DMS-1", "0198c0de-0003", "accepted", 755, AT.replace(microsecond=120_000), (1,), 1),
    "first number": Given("dms", "a", "accepted", 0, AT, (1,), 1),
    "odd id": Given("DMS-1", '"\\/{}', "accepted", 2, AT, (1,), 1),
    "another zone": Given("DMS-1", "b", "accepted", 1, AT.astimezone(timezone(timedelta(hours=7))), (1,), 1),
    "rejected": Given("DMS-1", "0198c0de-0004", "rejected", 756, AT, refusal=REFUSED),
    "unreadable": Given("DMS-1", "0198c0de-0005", "unreadable", 757, AT, refusal=REFUSED),
    "repeated": Given("DMS-1", "0198c0de-0006", "accepted", 758, AT, (7,), 3, duplicate=True),
    "all fields": Given("DMS-1", "0198c0de-0007", "rejected", 759, AT, (7,), 3, REFUSED, duplicate=True),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_receipt_goes_out_as_its_model_would(given: Given) -> None:
    receipt = Receipt(**given._asdict())
    head = {
        "specversion": "1.0",
        "id": str(receipt.receipt),
        "source": "//sauro/receipts",
        "type": "sauro.receipt.v1",
        "subject": f"{receipt.source}/{receipt.id}",
        "time": orjson.loads(receipt.model_dump_json())["recorded_at"],
        "datacontenttype": "application/json",
    }
    data = receipt.model_dump_json(exclude_none=True).encode()
    assert given.cloud_event() == orjson.dumps(head)[:-1] + b',"data":' + data + b"}"
    assert Given.of(receipt) == given


def test_every_field_of_the_contract_goes_out() -> None:
    assert Given._fields == tuple(Receipt.model_fields)
    assert set(orjson.loads(GIVEN["all fields"].cloud_event())["data"]) == set(Receipt.model_fields)


@pytest.mark.parametrize("text", ["", " ", "A B", "A ", " A", "A\n", "A\tB"])
def test_no_code_and_no_stream_has_a_space(text: str) -> None:
    """Many of them are sent to PostgreSQL as one text, with spaces between."""
    for type_, value in ((Code, text), (StreamId, f"task/{text}"), (StreamId, f"task/A/{text}")):
        with pytest.raises(ValidationError):
            TypeAdapter(type_).validate_python(value)
