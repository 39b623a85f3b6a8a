"""Write docs/api.md: the public names of `abaw`, from its source.

Run `python docs/api.py` after a change to what `PUBLIC` names.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "api.md"
PUBLIC = {
    "What everything stands on": {
        "tracks": "Track Task get_track",
        "problems": "Problem BadInput refuse",
        "metrics": "score TrackStatistics Concordance Confusion BinaryCounts TopK",
        "intervals": "score_interval Interval",
        "folds": "make_folds official_fold Folds",
    },
    "Files in and out": {
        "annotations": "read_annotation read_annotations read_mtl_list write_annotation write_mtl_list",
        "predictions": "schema read_predictions write_predictions scores_of labels_of",
        "runs": "is_complete read_result",
        "training.trained": "read_trained Trained",
    },
    "After the network": {
        "postprocess.gaps": "fill",
        "postprocess.smoothing": "Smoothing smooth",
        "postprocess.decisions": "shifted thresholds",
        "postprocess.crossfit": "three_ways ThreeWays",
        "search.smoothing": "search_smoothing apply_result SmoothingResult",
    },
    "Data": {
        "data.frames": "Collection frame_table annotated",
        "data.stills": "read_lines listed_images leave_out split_named collect",
        "data.shards": "write_shards open_frames",
        "data.manifest": "read_manifest Manifest Preprocessing",
        "data.verify": "verify_shards",
        "data.sampling": "Sampling",
        "data.augment": "Augmentation",
        "data.batches": "FrameSource batches evaluation_batches Loading",
        "faces.dataset": "FacesConfig write_faces",
    },
    "Networks, systems, training": {
        "models.vit": "VitConfig encode_visible to_pixels",
        "models.backbones": "BackboneConfig feature_map",
        "systems.system": "System SystemConfig",
        "systems.heads": "Heads TaskSystem task_losses task_predictions",
        "training.optimisation": "Optimisation",
        "training.resources": "Resources",
        "training.job": "TrainingJob Frames",
        "training.fit": "fit_together",
        "search.space": "Float Int Choice",
    },
}
"""What a track, source, system or recipe of your own, or a program that reads the files, builds on: module, names."""
HEAD = """# The public names of `abaw`

Written by `python docs/api.py` from the source. This is what a track, a source, a system or a recipe of your own
builds on ([adding.md](adding.md)), and a program that reads the files. All of it is typed, and a change to it is told
in the changelog; other names may change with any version. The fields of a config are its options:
`abaw run RECIPE --help` lists them. The commands are public too: `abaw --help`, `leaderboard --help`.
"""
Definition = ast.FunctionDef | ast.ClassDef


def source_of(module: str) -> ast.Module:
    """The parsed source of `abaw.<module>`."""
    return ast.parse((ROOT / "platform" / "abaw" / f"{module.replace('.', '/')}.py").read_text())


def public(body: list[ast.stmt]) -> list[Definition]:
    """The functions and classes whose names have no underscore in front."""
    return [one for one in body if isinstance(one, ast.FunctionDef | ast.ClassDef) and not one.name.startswith("_")]


def first_line(node: ast.Module | Definition) -> str:
    """The first paragraph of a docstring in one line."""
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def signature(function: ast.FunctionDef) -> str:
    """The name with its arguments and what it returns, as in the source, without `self` and `cls`."""
    decorators = [ast.unparse(one) for one in function.decorator_list]
    returned = ast.unparse(function.returns) if function.returns else "None"
    if any(one.endswith("property") for one in decorators):
        return f"{function.name}: {returned}".replace("'", "")
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(function.args))
    return f"{function.name}({arguments}) -> {returned}".replace("'", "")


def described(node: Definition) -> str:
    """One item of the page; a class with its public methods."""
    if isinstance(node, ast.FunctionDef):
        return f"- `{signature(node)}`\\\n  {first_line(node)}\n"
    methods = [one for one in public(node.body) if isinstance(one, ast.FunctionDef)]
    return f"- `{node.name}`\\\n  {first_line(node)}\n" + "".join(f"  - `{signature(one)}`\n" for one in methods)


def page() -> str:
    """The whole page; KeyError for a name that its module does not have."""
    parts = [HEAD]
    for title, modules in PUBLIC.items():
        parts.append(f"\n## {title}\n")
        for module, names in modules.items():
            tree = source_of(module)
            there = {node.name: node for node in public(tree.body)}
            items = "".join(described(there[name]) for name in names.split())
            parts.append(f"\n### `abaw.{module}`\n\n{first_line(tree)}\n\n{items}")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
