import pytest
import torch

from abaw.data.views import MEAN_COLOUR, REGIONS, face_regions, resized


def numbered(size: int = 100) -> torch.Tensor:
    """An image whose first channel says the row, the second the column."""
    rows = torch.arange(size, dtype=torch.uint8)
    return torch.stack([rows[:, None].expand(size, size), rows.expand(size, size), torch.zeros(size, size).byte()])[
        None
    ]


@pytest.mark.parametrize(
    ("region", "rows", "columns"),
    [("eyes", (35, 55), (20, 80)), ("mouth", (70, 90), (20, 80)), ("nose", (20, 80), (40, 60))],
)
def test_a_region_is_the_papers_part_of_the_image_enlarged(
    region: str, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    image = numbered()
    seen = face_regions(image, (region,))
    assert seen.shape == image.shape
    assert torch.equal(seen, resized(image[..., rows[0] : rows[1], columns[0] : columns[1]], 100))
    assert (int(seen[0, 0].min()), int(seen[0, 0].max())) == (rows[0], rows[1] - 1)
    assert (int(seen[0, 1].min()), int(seen[0, 1].max())) == (columns[0], columns[1] - 1)


def test_a_union_keeps_the_geometry_and_takes_away_what_lies_between() -> None:
    seen = face_regions(numbered(), ("mouth", "eyes"))
    expected = numbered()[..., 35:90, 20:80].clone()
    expected[..., 20:35, :] = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None]
    assert torch.equal(seen, resized(expected, 100))
    assert torch.equal(seen, face_regions(numbered(), ("eyes", "mouth")))


def test_all_regions_reach_from_the_top_of_the_nose_to_the_mouth() -> None:
    seen = face_regions(numbered(), tuple(REGIONS))
    expected = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None].expand(3, 70, 60).clone()
    for top, bottom, left, right in [(35, 55, 20, 80), (70, 90, 20, 80), (20, 80, 40, 60)]:
        expected[:, top - 20 : bottom - 20, left - 20 : right - 20] = numbered()[0, :, top:bottom, left:right]
    assert torch.equal(seen[0], resized(expected, 100))


def test_without_regions_the_image_is_itself() -> None:
    image = numbered()
    assert face_regions(image, ()) is image
