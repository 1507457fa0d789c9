"""Pictures of pages, compared with reviewed and committed ones.

To replace them: `make pictures`; then review each before you commit it.
"""

import base64
from pathlib import Path

from playwright.sync_api import FloatRect, Page

FOLDER = Path(__file__).with_name("pictures")
TOLERANCE = 0.01
"""The share of a panel's pixels that may differ: fonts render differently on other machines."""
_REGIONS = """() => [...document.querySelectorAll('[data-viz-panel-key]')].map(panel => {
    const { x, y, width, height } = panel.getBoundingClientRect();
    return { name: panel.innerText.split('\\n')[0], x, y, width, height };
})"""
_HEIGHT = "Math.ceil(document.querySelector('main').getBoundingClientRect().bottom)"
_HALVE = """async text => {
    const blob = await (await fetch(`data:image/png;base64,${text}`)).blob();
    const { width, height } = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(width / 2, height / 2);
    const drawn = canvas.getContext('2d');
    drawn.imageSmoothingQuality = 'high';
    drawn.drawImage(await createImageBitmap(blob), 0, 0, canvas.width, canvas.height);
    const bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
    return btoa(bytes.reduce((all, one) => all + String.fromCharCode(one), ''));
}"""
_COMPARE = """async ([pictures, regions]) => {
    const [one, other] = await Promise.all(pictures.map(async text => {
        const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        const image = await createImageBitmap(new Blob([bytes]));
        const canvas = new OffscreenCanvas(image.width, image.height);
        const drawn = canvas.getContext('2d');
        drawn.drawImage(image, 0, 0);
        return drawn.getImageData(0, 0, image.width, image.height);
    }));
    if (one.width !== other.width || one.height !== other.height) {
        return [['the size', 1]];
    }
    const differs = (x, y) => {
        const at = 4 * (y * one.width + x);
        return [0, 1, 2].some(part => Math.abs(one.data[at + part] - other.data[at + part]) > 32);
    };
    return regions.map(({ name, x, y, width, height }) => {
        let different = 0;
        const [right, bottom] = [Math.floor(x + width), Math.floor(y + height)];
        for (let row = Math.ceil(y); row < bottom; row += 1)
            for (let column = Math.ceil(x); column < right; column += 1)
                if (differs(column, row)) different += 1;
        return [name, different / (width * height)];
    }).filter(([, share]) => share > 0);
}"""


def still(page: Page, height: int | None = None) -> bytes:
    """A PNG screenshot of a page that has stopped moving; of all its content by default."""
    page.mouse.move(0, 0)
    clip: FloatRect = {
        "x": 0,
        "y": 0,
        "width": page.evaluate("innerWidth"),
        "height": height or page.evaluate(_HEIGHT),
    }
    before = b""
    for _ in range(60):
        now = page.screenshot(animations="disabled", clip=clip)
        if now == before:
            return now
        before = now
        page.wait_for_timeout(100)
    raise TimeoutError("the page keeps changing")


def halved(page: Page, png: bytes) -> bytes:
    """The same picture at half the size, which takes a third of the space."""
    return base64.b64decode(page.evaluate(_HALVE, base64.b64encode(png).decode()))


def differences(page: Page, kept: bytes, now: bytes, scale: float = 1) -> dict[str, float]:
    """The share of different pixels, panel by panel."""
    panels = [
        {key: one if key == "name" else one * scale for key, one in region.items()}
        for region in page.evaluate(_REGIONS)
    ]
    regions = [{"name": "the page", "x": 0, "y": 0, **_size(now)}, *panels]
    texts = [base64.b64encode(picture).decode() for picture in (kept, now)]
    return dict(page.evaluate(_COMPARE, [texts, regions]))


def _size(png: bytes) -> dict[str, int]:
    """The size of a PNG, from its header."""
    return {
        "width": int.from_bytes(png[16:20], "big"),
        "height": int.from_bytes(png[20:24], "big"),
    }


def compare(page: Page, name: str, folder: Path, *, record: bool) -> None:
    """Compare a page with its picture, or replace the picture.

    Args:
        page: The page.
        name: The picture's name, without suffix.
        folder: Where the new picture goes if it differs.
        record: Whether to replace the picture if it differs.
    """
    kept, now = FOLDER / f"{name}.png", halved(page, still(page))
    before = kept.read_bytes() if kept.exists() else b""
    found = differences(page, before, now, scale=0.5) if before else {"everything": 1.0}
    if record:
        if found:
            FOLDER.mkdir(exist_ok=True)
            kept.write_bytes(now)
        return
    worse = {what: f"{share:.1%}" for what, share in found.items() if share > TOLERANCE}
    if worse:
        seen = folder / kept.name
        seen.write_bytes(now)
        raise AssertionError(
            f"{kept} differs from the page ({seen}): {worse}. If that is intended: make pictures"
        )
