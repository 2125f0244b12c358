"""Asks a page, which it starts, in hundreds of ways for what it must not give or do; prints what was not refused.

    python tests/audit/page_requests.py

Exit status 0 if every request was refused in one line, and the page still works. Needs requirements-app.txt and Linux.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from page_client import running_page
from page_ways import GROUPS, failures, set_scene, works


def main() -> int:
    lost = []
    with running_page() as page, tempfile.TemporaryDirectory() as folder:
        scene = set_scene(page, Path(folder))
        before, _ = page.memory()
        for group in GROUPS:
            tried, failed = failures(scene, group)
            print(f"{group}: {tried} tried, {tried - len(failed)} held", flush=True)
            lost += [print(f"  not held: {line}") or line for line in failed]
        if not works(scene):
            lost += [print("  not held: the page answers no ordinary request any more") or ""]
        after, highest = page.memory()
        tracebacks = page.log.read_text().count("Traceback")
        print(f"memory {before:.0f} MB before, {after:.0f} MB after, at most {highest:.0f} MB; {tracebacks} tracebacks")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
