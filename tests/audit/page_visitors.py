"""Visits a page, which it starts, as ten visitors at once, one of whom uploads garbage; prints what the server needs.

    python tests/audit/page_visitors.py --minutes 5

Every half minute: the server's memory, the answers so far, its temporary files and its threads. Exit status 0 if no
request failed. Needs requirements-app.txt and Linux.
"""

import argparse
import http.client
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from page_client import Answer, Page, folder_size, running_page
from page_marks import data_url, encoded, png
from page_ways import run_data

from utils.arguments import positive_float

REPORT = 30  # seconds
COLOURS = ("#102030", "rgba(200, 17.5, 64, 1)")


def visit(page: Page, events: dict[str, int], chance: random.Random, session: str) -> list[Answer]:
    """An ordinary visit: a photo with a trimap, a matte, and three backgrounds."""
    size = chance.randrange(100, 300)
    noise = np.random.default_rng(chance.randrange(10**9)).integers(0, 60, (size, size, 3), dtype=np.uint8)
    noise[size // 3:-size // 3, size // 3:-size // 3, 0] += 190  # the subject
    photo = page.uploaded(f"photo {size}.png", encoded(noise))
    trimap = np.zeros((size, size), np.uint8)
    trimap[size // 4:, size // 4:], trimap[size // 3:, size // 3:] = 128, 255
    painted = np.zeros((size, size, 4), np.uint8)
    painted[size // 4:-size // 4, size // 4:-size // 4] = 34, 197, 94, 255
    marks = {"box": [0.2, 0.2, 0.8, 0.8], "strokes": data_url(encoded(painted))}
    picture = page.uploaded("picture.png", png(300, 200, (chance.randrange(256), 90, 30), "RGB"))
    return [page.ask(events[name], data, session) for name, data in (
        ("samples.click", [0]), ("editor.upload", [photo]), ("editor.select", [None, marks, "narrow", False]),
        ("load.upload", [None, page.uploaded("trimap.png", encoded(trimap)), "medium"]),
        ("run.click", run_data(marks)), ("kind.change", ["Picture"]),
        ("picture.upload", [None, "Picture", COLOURS[0], picture]),
        ("colour.change", [None, "Colour", COLOURS[1], None]), ("propose.click", [None, None, "narrow", True]))]


def garbage(page: Page, events: dict[str, int], chance: random.Random, session: str) -> list[Answer]:
    """Files that are no images, sizes that are too large, and malformed requests; all are to be refused."""
    junk = chance.randbytes(chance.randrange(1, 400_000))
    cut = png(2000, 2000)[:chance.randrange(20, 400)]
    huge = page.uploaded("huge.png", png(9000, 9000))
    photo = [page.ask(events["editor.upload"], [page.uploaded("junk.png", content)], session)
             for content in (junk, cut)]
    return [*photo, page.ask(events["editor.upload"], [huge], session),
            page.ask(events["run.click"], run_data({"box": None, "strokes": data_url(png(9000, 9000))}), session),
            page.ask(events["editor.upload"], [{"path": "/etc/passwd"}], session),
            page.ask(events["editor.upload"], [], session),
            page.upload("a.png", junk, junk), page.request("POST", "/gradio_api/upload", junk),
            page.request("POST", "/gradio_api/queue/join", junk), page.request("GET", "/", Host="site.example")]


def keep_visiting(page: Page, number: int, end: float, counts: Counter) -> None:
    """One visitor until `end`; the first brings garbage."""
    events, chance, visits, what = page.events(), random.Random(number), 0, (visit if number else garbage)
    while time.monotonic() < end:
        visits += 1
        try:
            answers = what(page, events, chance, f"visitor-{number}-{visits}")
        except (OSError, ValueError, http.client.HTTPException) as error:
            counts["failed"] += 1
            print(f"  failed: visitor {number}: {error!r}"[:300], flush=True)
            continue
        for answer in answers:
            outcome = "refused" if answer.refused else "answered" if answer.data is not None else "failed"
            counts[outcome] += 1
            if answer.text.startswith("This result has been deleted"):
                counts["evicted"] += 1
            elif (outcome == "refused") != (what is garbage):
                counts["failed"] += 1
                print(f"  failed: visitor {number}: {str(answer)[:300]}", flush=True)


def report(page: Page, start: float, counts: Counter) -> None:
    memory, highest = page.memory()
    files, size = folder_size(page.uploads)
    threads = len(list(Path(f"/proc/{page.process}/task").iterdir()))
    print(f"{time.monotonic() - start:4.0f} s: memory {memory:.0f} MB, at most {highest:.0f} MB; {counts['answered']} "
          f"answered, {counts['refused']} refused ({counts['evicted']} whose result had made room for others), "
          f"{counts['failed']} failed; {files} files of {size:.1f} MB; {threads} threads", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=positive_float, default=5, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--max-stored", default="2GB", help="option of app.py (default: %(default)s)")
    args = parser.parse_args()
    counts = Counter()
    with running_page("--max-stored", args.max_stored) as page:
        start = time.monotonic()
        end = start + 60 * args.minutes
        report(page, start, counts)
        visitors = [threading.Thread(target=keep_visiting, args=(page, number, end, counts))
                    for number in range(args.visitors)]
        for visitor in visitors:
            visitor.start()
        while time.monotonic() < end:
            time.sleep(min(REPORT, max(0, end - time.monotonic())))
            report(page, start, counts)
        for visitor in visitors:
            visitor.join()
        report(page, start, counts)
        print(f"{page.log.read_text().count('Traceback')} tracebacks in the server's output")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
