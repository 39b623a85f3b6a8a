from pathlib import Path
from typing import Any

import polars as pl
import pytest

from abaw.data.affwild2 import read_affwild2
from abaw.data.storage import as_path
from abaw.folds import official_fold
from abaw.problems import BadInput

VA, EXPR, AU = "VA_Estimation_Challenge", "EXPR_Classification_Challenge", "AU_Detection_Challenge"


def of_video(frames: pl.DataFrame, video: str) -> pl.DataFrame:
    return frames.filter(pl.col("video") == video)


def messages_of(root: Path) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_affwild2(root)
    return [str(problem) for problem in caught.value.problems]


def test_labels_and_crops_are_joined_by_equal_names_and_line_numbers(delivery: Any) -> None:
    frames = read_affwild2(delivery.root).frames
    first = of_video(frames, "102")
    assert first["frame"].to_list() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    for frame, valence, path in first.select("frame", "valence", "path").iter_rows():
        assert valence == pytest.approx(frame / 100)
        if path is not None:
            assert path.endswith(f"cropped_aligned/cropped_aligned/102/{frame:05d}.jpg")
    assert first.filter(pl.col("path").is_null())["frame"].to_list() == [3, 12]
    other = of_video(frames, "102-30-640x360")
    assert other["valence"].null_count() == 6
    assert other["au"].to_list()[:4] == [[1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]] * 4
    assert other["au"].to_list()[4:] == [[None] * 12] * 2


def test_splits_come_from_sets_lists_and_templates(delivery: Any) -> None:
    videos = read_affwild2(delivery.root).videos
    assert dict(videos.select("video", "split").iter_rows()) == {
        "102": "train",
        "102-30-640x360": "validation",
        "new": "train",
        "nobody": "unlabelled",
        "t1": "test",
        "t2": "test",
    }


def test_two_people_of_a_video_are_on_one_side_of_the_official_split(delivery: Any) -> None:
    for name in ("duo", "duo_right"):
        delivery.crops(f"cropped_aligned/cropped_aligned/{name}", [1])
    delivery.labels(VA, "Train_Set/duo", ["0,0"])
    delivery.labels(AU, "Validation_Set/duo_right", [",".join("101000010001")])
    read = read_affwild2(delivery.root)
    rows = read.videos.filter(pl.col("video").str.starts_with("duo")).select("video", "split", "mixed")
    assert rows.rows() == [("duo", "validation", True), ("duo_right", "validation", True)]
    assert read.videos.filter("mixed").height == 2
    assert {"duo", "duo_right"} <= set(official_fold(read.frames).held_out(0))


def test_list_labels_fill_gaps_and_contradictions_are_counted(delivery: Any) -> None:
    read = read_affwild2(delivery.root)
    first = of_video(read.frames, "102")
    # Frame 1 has its own expression 0, the list says 4; frame 5 is -1 in its own file, so the list's 4 is used.
    assert first["expression"].to_list() == [0, 1, 2, 3, 4, None, 6, 7, None, None, None]
    assert first["au"].to_list()[0] == [1] * 12
    assert read.conflicts == {"va": 2, "expr": 1, "au": 0}
    new = of_video(read.frames, "new")
    assert new["expression"].to_list() == [None, 4]


def test_coverage_counts_every_frame(delivery: Any) -> None:
    rows = {row["video"]: row for row in read_affwild2(delivery.root).coverage().to_dicts()}
    names = ("frames", "cropped", "labelled", "both", "neither", "past_labels")
    counts = {video: tuple(row[name] for name in names) for video, row in rows.items()}
    assert counts == {
        "102": (12, 9, 11, 9, 1, 0),  # frame 11: -5 and no crop
        "102-30-640x360": (6, 6, 4, 4, 0, 2),  # two crops after the last label line
        "new": (8, 2, 1, 1, 6, 0),
        "nobody": (1, 1, 0, 0, 0, 0),
        "t1": (5, 2, 0, 0, 3, 0),
        "t2": (0, 0, 0, 0, 0, 0),
    }
    assert (rows["102"]["va"], rows["102"]["va_both"], rows["102"]["va_lines"]) == (11, 9, 12)
    assert rows["102"]["au_lines"] is None


def test_the_report_says_what_is_odd(delivery: Any) -> None:
    (delivery.root / "cropped_aligned" / "cropped_aligned" / "102" / "thumb.png").write_bytes(b"x")
    delivery.labels(VA, "Train_Set/gone", ["0,0"])
    delivery.labels(EXPR, "Train_Set/102-30-640x360", ["0"])
    text = read_affwild2(delivery.root).coverage_markdown()
    assert "| train | 3 | 21 | 11 | 13 | 10 | 7 |" in text
    assert "| va | train | 3 | 10 | 3 |" in text
    for remark in (
        "1 annotated videos have no crop at all: gone",
        "1 videos have crops past their last label line: 102-30-640x360",
        "1 videos are in a train set and a validation set (or _left in one, _right in the other); they count as "
        "validation: 102-30-640x360",
        "2 frames have two va labels that differ",
        "- 1 left out: is not named as a frame, such as 00001.jpg, counted from 1: ",
    ):
        assert remark in text


def test_the_newer_layout_of_images_and_annotations_is_read(tree: Any, tmp_path: Path) -> None:
    tree.crops("images/batch1 (1)/cropped_aligned/v", [1])
    tree.crops("images/batch2/cropped_aligned_new_50_vids/w", [1])
    folder = tree.root / "Third ABAW Annotations" / VA / "Train_Set"
    folder.mkdir(parents=True)
    (folder / "v.txt").write_text("valence,arousal\n0,0\n")
    frames = read_affwild2(tree.root).frames
    assert frames["video"].to_list() == ["v", "w"]
    moved = tmp_path / "elsewhere"
    (tree.root / "images").rename(moved)
    again = read_affwild2(tree.root, images=[moved], annotations=folder.parent.parent).frames
    assert again.drop("path").equals(frames.drop("path"))


def test_missing_folders_are_named_with_what_was_looked_for(tmp_path: Path) -> None:
    assert messages_of(tmp_path / "none") == [
        f"{tmp_path / 'none'}: no such folder; expected the organisers' delivery: crops, annotations, lists"
    ]
    (tmp_path / "crops").mkdir()
    crops, labels = messages_of(tmp_path)
    assert "no crops; looked for cropped_aligned, cropped_aligned_new_50_vids, images; it holds crops" in crops
    assert "no annotations, here or two folders down; looked for VA_Estimation_Challenge, VA_Set, " in labels


def test_every_bad_file_is_reported_at_once(delivery: Any) -> None:
    delivery.labels(VA, "Train_Set/a", ["0,0", "", "0,0"])
    delivery.labels(AU, "Validation_Set/b", ["1,0"])
    delivery.file("validation_set_annotations.txt", "image,valence\n")
    delivery.file("test_templates/au.txt", "image_location,AU1\nt1/1.png,0\n")
    messages = messages_of(delivery.root)
    assert [Path(message.split(":")[0]).name for message in messages] == [
        "au.txt",
        "a.txt",
        "b.txt",
        "validation_set_annotations.txt",
    ]
    assert messages[0].endswith("au.txt:2: 't1/1.png' is neither <video>/<frame>.jpg nor a video's name")


def test_a_video_in_two_sets_of_one_challenge_is_refused(delivery: Any) -> None:
    delivery.labels(VA, "Validation_Set/102", ["0,0"])
    (message,) = messages_of(delivery.root)
    assert "Validation_Set: video 102 is in " in message
    assert "a video belongs to one set" in message


def test_a_video_in_two_image_folders_is_refused(delivery: Any) -> None:
    delivery.crops("cropped_aligned/again/102", [1])
    (message,) = messages_of(delivery.root)
    assert "again/102: video 102 lies in " in message or "cropped_aligned/102: video 102 lies in " in message


def test_unknown_and_empty_sets_are_refused(delivery: Any) -> None:
    delivery.labels(VA, "Bonus_Set/102", ["0,0"])
    (delivery.root / "annotations" / "EXPR_Recognition_Challenge" / "Train_Set").mkdir(parents=True)
    unknown, empty = messages_of(delivery.root)
    assert "Bonus_Set: is a set of unknown use; expected Train_Set or Training_Set or Validation_Set" in unknown
    assert "EXPR_Recognition_Challenge/Train_Set: holds no annotations; looked for Train_Set/<video>.txt" in empty


def test_two_deliveries_in_one_folder_are_not_mixed(delivery: Any) -> None:
    (delivery.root / "6th ABAW Annotations" / VA).mkdir(parents=True)
    (message,) = messages_of(delivery.root)
    assert "several folders hold annotations: " in message


LAYOUTS = {
    "ABAW3": (
        ["cropped_aligned/cropped_aligned", "cropped_aligned/cropped_aligned_new_50_vids"],
        "Third ABAW Annotations/EXPR_Classification_Challenge",
    ),
    "ABAW5": (["cropped_aligned", "cropped_aligned_new_50_vids"], "annotations/EXPR_Classification_Challenge"),
    "ABAW6": (
        ["cropped_aligned/cropped_aligned", "cropped_aligned_new_50_vids/cropped_aligned_new_50_vids"],
        "6th ABAW Annotations/6th_ABAW_Annotations/EXPR_Recognition_Challenge",
    ),
    "ABAW10": (
        ["images/batch1 (1)/cropped_aligned", "images/batch2/cropped_aligned_new_50_vids"],
        "10th ABAW Annotations/EXPR_Recognition_Challenge",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_delivery_gives_the_same_frames(tree: Any, name: str) -> None:
    (first, second), annotations = LAYOUTS[name]
    tree.crops(f"{first}/102", [1, 2])
    tree.crops(f"{second}/102-30-640x360", [1])
    header = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
    tree.file(f"{annotations}/Train_Set/102.txt", f"{header}\n4\n7\n")
    tree.file(f"{annotations}/Validation_Set/102-30-640x360.txt", f"{header}\n-1\n")
    found = read_affwild2(tree.root)
    assert found.frames.select("video", "frame", "expression", "split").rows() == [
        ("102", 1, 4, "train"),
        ("102", 2, 7, "train"),
        ("102-30-640x360", 1, None, "validation"),
    ]
    assert (found.track, found.drops.height) == ("mtl", 0)


def test_several_image_roots_and_an_annotation_folder_can_be_named(tree: Any, tmp_path: Path) -> None:
    tree.crops("disk1/faces/v", [1])
    tree.crops("disk2/more faces/w", [2])
    tree.file("labels/VA_Estimation_Challenge/Train_Set/v.txt", "valence,arousal\n0.5,0\n")
    disks = [tree.root / "disk1", tree.root / "disk2"]
    (tmp_path / "empty").mkdir()
    found = read_affwild2(tmp_path / "empty", images=[*disks, disks[0]], annotations=tree.root / "labels")
    assert found.frames.select("video", "frame", "valence").rows() == [("v", 1, 0.5), ("w", 2, None)]


def test_the_label_sets_of_2020_go_into_their_places_and_the_unit_without_one_is_counted(tree: Any) -> None:
    tree.crops("cropped_aligned/v", [1, 2])
    tree.file(
        "annotations/AU_Set/Train_Set/v.txt",
        "AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25\n1,0,0,1,1,0,1,0\n" + "-1," * 7 + "-1",
    )
    tree.file("annotations/EXPR_Set/Train_Set/v.txt", "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\n6\n-1\n")
    tree.file("annotations/VA_Set/Training_Set/v.txt", "valence,arousal\n0.25,-5\n0.5,0.5\n")
    found = read_affwild2(tree.root)
    first, second = found.frames.to_dicts()
    assert first["au"] == [1, 0, 0, 1, None, None, 1, 0, None, None, 0, None]
    assert (first["expression"], first["valence"], first["arousal"]) == (6, 0.25, None)
    assert (second["au"], second["expression"]) == ([None] * 12, None)
    assert found.unplaced == {"AU20": 1}
    assert (
        "- AU20 is none of the twelve action units and has no place in the frame table: its 1 labels are not used"
        in (found.coverage_markdown())
    )


def test_what_a_set_of_2020_lacks_comes_from_the_multi_task_list(tree: Any) -> None:
    tree.crops("cropped_aligned/v", [1])
    tree.file("annotations/AU_Set/Train_Set/v.txt", "AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25\n1,0,0,1,1,0,1,0\n")
    tree.file("annotations/VA_Set/Train_Set/v.txt", "valence,arousal\n0.25,x\n")
    listed = "v/00001.jpg,0.5,0.75,2," + ",".join("111111111111")
    tree.file("training_set_annotations.txt", f"image,valence,arousal,expression,aus\n{listed}\n")
    found = read_affwild2(tree.root)
    (row,) = found.frames.to_dicts()
    assert row["au"] == [1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1]
    assert (row["valence"], row["arousal"], row["expression"]) == (0.25, 0.75, 2)
    assert found.conflicts == {"va": 1, "expr": 0, "au": 1}


def test_one_folder_under_two_names_is_read_once(delivery: Any) -> None:
    root = delivery.root
    listed = root / "annotations" / "training_set_annotations.txt"
    (root / "training_set_annotations.txt").rename(listed)
    plain = read_affwild2(root)
    for other in (root / "cropped_aligned" / ".." / "annotations", root.parent / "link"):
        if not other.exists():
            other.symlink_to(root / "annotations")
        found = read_affwild2(root, annotations=other)
        assert found.frames.equals(plain.frames)


def test_the_folders_of_2021_hold_twelve_units_and_the_header_says_so(tree: Any) -> None:
    tree.crops("cropped_aligned/v", [1])
    header = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
    tree.file("annotations/AU_Set/Train_Set/v.txt", f"{header}\n1,0,1,0,1,0,1,0,1,0,1,0\n")
    found = read_affwild2(tree.root)
    assert found.frames["au"].to_list() == [[1, 0] * 6]
    assert found.unplaced == {}


def test_lists_may_lie_in_a_folder_of_their_own(tree: Any) -> None:
    tree.crops("cropped_aligned/v", [1, 8])
    row = "v/0000{}.jpg,0.5,0.5,{}," + ",".join("0" * 12)
    lines = ["image,valence,arousal,expression,aus", row.format(1, 2), row.format(8, -1)]
    tree.file("annotations/MTL_Challenge/training_set_annotations.txt", "\n".join(lines))
    frames = read_affwild2(tree.root).frames
    assert frames.select("frame", "expression", "split").rows() == [(1, 2, "train"), (8, None, "train")]


def test_a_value_that_is_no_label_is_a_drop_and_costs_nothing_else(delivery: Any) -> None:
    delivery.labels(VA, "Train_Set/nobody", ["0.5,7"])
    delivery.labels(AU, "Validation_Set/t1", ["x" + ",0" * 11, *([",".join("1" * 12)] * 2)])
    row = "listed/00001.jpg,0.5,0.5,9," + ",".join("0" * 12)
    delivery.file("validation_set_annotations.txt", f"image,valence,arousal,expression,aus\n{row}\n")
    found = read_affwild2(delivery.root)
    named = [(path.rsplit("/", 1)[-1], reason.split(";")[0]) for path, reason in found.drops.rows()]
    assert sorted(named) == [
        ("nobody.txt:2", "arousal is '7'"),
        ("t1.txt:2", "AU1 is 'x'"),
        ("validation_set_annotations.txt:2", "expression is '9'"),
    ]
    nobody = of_video(found.frames, "nobody").to_dicts()[0]
    assert (nobody["valence"], nobody["arousal"]) == (0.5, None)
    assert of_video(found.frames, "t1")["au"].to_list() == [[None] + [0] * 11, [1] * 12, [1] * 12]
    listed = of_video(found.frames, "listed").to_dicts()[0]
    assert (listed["valence"], listed["expression"], listed["au"]) == (0.5, None, [0] * 12)
    assert "- 1 left out: AU1 is 'x'; expected 0 or 1, or -1 where not annotated: " in found.coverage_markdown()


def test_a_delivery_on_another_file_system_gives_the_same_table(delivery: Any) -> None:
    remote = as_path("memory://team/delivery")
    for path in filter(Path.is_file, delivery.root.rglob("*")):
        copy = remote / str(path.relative_to(delivery.root))
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    local, found = read_affwild2(delivery.root), read_affwild2(remote)
    assert found.frames.drop("path").equals(local.frames.drop("path"))
    assert found.frames["path"][0] == "memory://team/delivery/cropped_aligned/cropped_aligned/102/00001.jpg"
    assert found.coverage().equals(local.coverage())
