"""The readable part of an export: one HTML page in Vietnamese, without anything from outside, fit for printing.

`sauro-verify` reads the figures (`data-figure`) and the lines of the events from it and compares both with the events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import groupby
from typing import Any

from services.api.labels import LABELS as WORDS
from services.audit.sauro_verify import OF_A_KIND, dossier_line, local_text

_SCOPES = {"programme": "Chương trình", "unit": "Đơn vị", "assignment": "Nhiệm vụ"}
LABELS = {
    "assigned": "Đã giao",
    "drafts": "Dự thảo",
    "open": "Đang thực hiện",
    "overdue_open": "Đang quá hạn",
    "done": "Hoàn thành",
    "done_on_time_original": "Đúng hạn (hạn gốc)",
    "done_on_time_current": "Đúng hạn (hạn hiện hành)",
    "done_late": "Hoàn thành trễ",
    "done_undated": "Hoàn thành, không có hạn",
    "ever_overdue": "Từng quá hạn",
    "extended": "Được gia hạn",
    "carried_over": "Chuyển giai đoạn",
    "suspended": "Tạm dừng",
    "cancelled": "Đã hủy",
    "unfinished": "Đóng, chưa xong",
    "reports_owed": "Báo cáo phải nộp",
    "reports_on_time": "Báo cáo đúng hạn",
    "reports_late": "Báo cáo trễ hạn",
    "reports_missing": "Báo cáo quá hạn chưa nộp",
    "reports_undated": "Báo cáo chưa có thời hạn",
    "explanations_owed": "Giải trình phải nộp",
    "explanations_open": "Giải trình chưa nộp",
    "products_owed": "Sản phẩm, kế hoạch, sổ phải có",
    "products_accepted": "Sản phẩm, kế hoạch, sổ đã chấp nhận",
    "milestones": "Mốc của giai đoạn",
    "milestones_missed": "Mốc bị lỡ",
    "commitments_owed": "Cam kết, kế hoạch cá nhân phải có",
    "commitments_signed": "Cam kết, kế hoạch cá nhân đã nộp",
    "obligations_owed": "Nghĩa vụ",
    "obligations_met": "Nghĩa vụ đúng hạn",
    "obligations_late": "Nghĩa vụ trễ hạn",
    "obligations_open": "Nghĩa vụ chưa nộp",
    "obligations_overdue": "Nghĩa vụ quá hạn chưa nộp",
    "obligations_waived": "Nghĩa vụ được miễn",
    "warnings_raised": "Cảnh báo đã phát",
    "warnings_open": "Cảnh báo đang mở",
    **{f"warnings_open_level_{level}": f"Cảnh báo mở cấp {level}" for level in range(5)},
}
_STYLE = """
body{font:11pt/1.45 "Noto Serif","Times New Roman",serif;margin:2rem auto;max-width:60rem;color:#111}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem;margin:1.2rem 0 .2rem;break-after:avoid}
table{border-collapse:collapse;width:100%;font-size:8.5pt}th,td{border:1px solid #999;padding:.2rem .4rem;text-align:left}
td[data-figure]{text-align:right;font-variant-numeric:tabular-nums}tr{break-inside:avoid}
ol{padding-left:1.2rem;list-style:none;margin:0}li{break-inside:avoid;font-size:9.5pt;border-bottom:1px solid #eee}
.q{color:#555}.note{border:1px solid #999;padding:.6rem .9rem;background:#f7f7f4}
@page{size:A4 landscape;margin:15mm}@media print{body{margin:0;max-width:none}.note{background:none}}
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above: the export's number, what it is of, who asked when (UTC) and why, and up to where is signed."""

    number: int
    kind: str
    code: str
    by_post: str
    reason: str
    at: datetime
    size: int


def dossier(
    heading: Heading, figures: dict[str, Any], documents: Sequence[dict[str, Any]], states: Sequence[bytes]
) -> str:
    """The page, of events as parsed JSON and as stored."""
    title = f"Hồ sơ kiểm chứng số {heading.number}: {_SCOPES[heading.kind].lower()} {heading.code}"
    return (
        f'<!DOCTYPE html>\n<html lang="vi"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        f"<p>Người yêu cầu: {escape(heading.by_post)}. Lý do: {escape(heading.reason)}. Lập lúc {local_text(heading.at)}. "
        f"Sổ sự kiện đã ký đến vị trí {heading.size}.</p>\n{_NOTE}\n"
        f"<h2>Số liệu</h2>\n{_table(figures)}\n{_kinds(figures)}"
        f"<h2>Diễn biến</h2>\n{_streams(documents, states)}\n</body></html>\n"
    )


_NOTE = (
    '<p class="note">Hồ sơ này được kiểm tra ngoại tuyến bằng chương trình <code>sauro-verify</code>: số liệu và danh sách sự '
    "kiện được tính lại từ các sự kiện đã ký. Chứng cứ cho thấy bản ghi không bị sửa đổi từ khi được ký; không chứng minh "
    "rằng nội dung người nhập khai báo là đúng sự thật.</p>"
)


def _table(figures: dict[str, Any]) -> str:
    places = [("", figures["total"]), *figures["units"].items()]
    return _rows("Chỉ tiêu", [name or "Tổng" for name, _ in places], "unit", places, tuple(LABELS))


def _kinds(figures: dict[str, Any]) -> str:
    """Obligations by kind; nothing where there are none."""
    if not (places := list(figures["kinds"].items())):
        return ""
    names = [WORDS["obligation_kind"].get(kind, kind) for kind, _ in places]
    return f"<h2>Nghĩa vụ theo loại</h2>\n{_rows('Loại', names, 'kind', places, OF_A_KIND)}\n"


def _rows(
    title: str, heads: Sequence[str], of: str, places: Sequence[tuple[str, dict[str, int]]], figures: Sequence[str]
) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    rows = []
    for figure in figures:
        cells = "".join(
            f'<td data-{of}="{escape(name)}" data-figure="{figure}">{row[figure]}</td>' for name, row in places
        )
        rows.append(f"<tr><th>{LABELS[figure]}</th>{cells}</tr>")
    return f"<table><thead><tr><th>{title}</th>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _streams(documents: Sequence[dict[str, Any]], states: Sequence[bytes]) -> str:
    pairs = sorted(zip(documents, states, strict=True), key=lambda pair: (pair[0]["subject"], pair[0]["streamversion"]))
    parts = []
    for stream, events in groupby(pairs, key=lambda pair: pair[0]["subject"]):
        lines = "\n".join(dossier_line(document, state) for document, state in events)
        parts.append(f"<h3>{escape(stream)}</h3>\n<ol>\n{lines}\n</ol>")
    return "\n".join(parts)
