"""Saves and restores trees of arrays; the only file that knows orbax.

Orbax takes a quarter of a second to import, so only those who save or restore wait for it.
"""

from pathlib import Path

import chex
import jax

from mmjax.errors import DataError


def save(folder: Path, tree: chex.ArrayTree) -> None:
    """Writes a tree of arrays to a new folder and returns when all of it is there."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), _flatten(tree))


def restore(folder: Path, like: chex.ArrayTree) -> chex.ArrayTree:
    """Reads a tree back.

    Args:
        folder: what ``save`` wrote.
        like: a tree of arrays or shapes; the names, shapes and dtypes read must be the same.

    Raises:
        DataError: there is no checkpoint, it cannot be read, or it does not fit.
    """
    import orbax.checkpoint as ocp

    if not folder.is_dir():
        raise DataError(folder, expected="a checkpoint", got="no such folder")
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            # Given a target, orbax would cast to its dtypes without a word.
            found = checkpointer.restore(folder.absolute())
    except Exception as error:  # orbax and what it is made of fail in many ways
        raise DataError(folder, expected="a checkpoint", got=f"{error}"[:300]) from error
    wanted = _flatten(like)
    layout = lambda flat: {(name, x.shape, str(x.dtype)) for name, x in flat.items()}
    differing = sorted(layout(found) ^ layout(wanted))
    if differing:
        raise DataError(
            folder,
            expected="the arrays of this model",
            got=f"a difference in {differing[0]}",
            fix="It was made by another recipe or version.",
        )
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in wanted])


def _flatten(tree: chex.ArrayTree) -> dict[str, chex.Array]:
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return {name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
