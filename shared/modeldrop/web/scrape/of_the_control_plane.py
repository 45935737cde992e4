"""Samples of modeldrop itself: the release, the ticks, the outbox, the quarantine."""

from datetime import datetime

from modeldrop import __version__
from modeldrop.ports import Document
from modeldrop.records.heartbeats import Heartbeat
from modeldrop.records.outbox import Outbox
from modeldrop.records.passed_over import PATH as PASSED_OVER_PATH
from modeldrop.records.passed_over import PassedOver
from modeldrop.records.quarantined_events import MOST_ENTRIES, ROOM_PATH, Room
from modeldrop.web.reading.ticks import EXPECTED_TICKS
from modeldrop.web.scrape.families import MOST_NEWS_PAGES, MOST_QUARANTINED
from modeldrop.web.scrape.reading import Reading
from modeldrop.web.scrape.sheet import Sheet


def add_control_plane(sheet: Sheet, reading: Reading) -> None:
    """All of them."""
    sheet.add("build_info", 1, __version__, reading.services.settings.backend)
    _add_ticks(sheet, reading)
    _add_outbox(sheet, reading)
    _add_quarantine(sheet, reading)


def _add_ticks(sheet: Sheet, reading: Reading) -> None:
    documents = reading.services.documents.list("heartbeats")
    beats = [beat for document in documents if (beat := reading.one(document, Heartbeat, "heartbeats")) is not None]
    for tick in sorted({*EXPECTED_TICKS, *(beat.tick for beat in beats)}):
        sheet.add("tick_seen", any(beat.tick == tick for beat in beats), tick)
    for beat in beats:
        sheet.add("tick_last_run_timestamp_seconds", beat.at.timestamp(), beat.tick)
        sheet.add("tick_interval_seconds", beat.interval_seconds, beat.tick)
        sheet.add("tick_duration_seconds", beat.seconds, beat.tick)
        sheet.add("tick_complete", beat.status == "ok", beat.tick)
        sheet.add("tick_models", beat.models, beat.tick)
        sheet.add("tick_errors", beat.errors, beat.tick)


def _add_outbox(sheet: Sheet, reading: Reading) -> None:
    outbox, after = Outbox(reading.services.documents), None
    moments: list[datetime] = []
    unreadable = 0
    for _ in range(MOST_NEWS_PAGES):
        page = outbox.page(after=after)
        moments += [slot.value.at for slot in page.items]
        unreadable += len(page.unreadable)
        after = page.next
        if after is None:
            break
    sheet.add("outbox_news", len(moments) + unreadable)
    sheet.add("outbox_unreadable_news", unreadable)
    if moments:
        sheet.add("outbox_oldest_news_timestamp_seconds", min(moments).timestamp())


def _add_quarantine(sheet: Sheet, reading: Reading) -> None:
    """Entries carry what was refused, up to 88 KB each: a short page, and the record of how many more are taken."""
    documents = reading.services.documents
    page = documents.list("quarantine", limit=MOST_QUARANTINED + 1)
    sheet.add("quarantine_entries", min(len(page), MOST_QUARANTINED))
    sheet.add("quarantine_more", len(page) > MOST_QUARANTINED)
    room, passed = documents.get_many([ROOM_PATH, PASSED_OVER_PATH])
    sheet.add_known("quarantine_room", _room(reading, room))
    seen = reading.one(passed, PassedOver, "events passed over") if passed else PassedOver()
    if seen is not None:
        sheet.add("events_passed_over_total", seen.others + sum(entry.events for entry in seen.entries))


def _room(reading: Reading, document: Document | None) -> float | None:
    if document is None:
        return MOST_ENTRIES
    room = reading.one(document, Room, "quarantine")
    return None if room is None else room.left(reading.services.clock())
