"""Makes the pictures of docs/gallery.md by the commands on that page.

    python experiments/gallery.py

Needs Chromium. The runs are in runs/gallery, which must not exist yet.
"""

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

PAGE = Path(__file__).parents[1] / "docs" / "gallery.md"
SIZE = (1200, 1350)
COLOURS = 128  # enough for smooth text, in a third of the bytes


def main() -> None:
    """Runs each command, then takes the pictures."""
    for language, code in re.findall(r"^```(sh|python)\n(.*?)^```", PAGE.read_text(), re.M | re.S):
        command = ["bash", "-c", code] if language == "sh" else [sys.executable, "-c", code]
        subprocess.run(command, check=True)
    for report in sorted(Path("runs/gallery").glob("*/report.html")):
        photograph(report, PAGE.parent / "gallery" / f"{report.parent.name}.png")


def photograph(report: Path, picture: Path) -> None:
    """Writes the top of a page as a picture of few colours."""
    options = ["--headless", "--no-sandbox", "--hide-scrollbars"]
    size, target = "--window-size={},{}".format(*SIZE), f"--screenshot={picture}"
    command = ["chromium", *options, size, target, report.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(picture) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)


if __name__ == "__main__":
    main()
