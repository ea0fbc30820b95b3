"""Tables of members by name: mmjax's own, and those that other packages provide.

A member is imported when it is first looked up, so that names can be checked, and ``--help`` and
errors shown, without waiting for JAX.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mmjax.errors import UsageError

if TYPE_CHECKING:
    import flax.linen as nn

    from mmjax.types import Metric, Objective

T = TypeVar("T")

_NAME = re.compile(r"\w[\w.-]*")  # names of files derive from it


class Table(Mapping[str, T]):
    """Members by name; mmjax's own first, then the entry points of other packages.

    A package provides a member in its metadata, such as ``[project.entry-points."mmjax.fusions"]``
    with ``mine = "package.module:MyFusion"``. It is imported on first lookup, so that the package
    itself may import mmjax.

    Args:
        group: entry-point group, such as "mmjax.fusions".
        own: mmjax's own members, or where they are, as ``module:name``.

    Example:
        >>> from mmjax.fusion import FUSIONS
        >>> FUSIONS["gmu"].__name__, FUSIONS["gmu"].level
        ('GMUFusion', 'feature')
        >>> "gmu" in FUSIONS, list(FUSIONS)[:3]
        (True, ['early', 'concat', 'sum'])
    """

    def __init__(self, group: str, own: Mapping[str, T | str]) -> None:
        self._group, self._own = group, dict(own)

    @cached_property
    def _others(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for entry in sorted(entry_points(group=self._group)):
            if entry.name in self._own or entry.name in found:
                problem = f"{self._group} already has {entry.name!r}"
            elif entry.name.endswith("_only") or not _NAME.fullmatch(entry.name):
                problem = f"{entry.name!r} cannot name a member of {self._group}"
            else:
                found[entry.name] = entry
                continue
            warnings.warn(f"{entry.value} is ignored: {problem}.", stacklevel=2)
        return found

    def __getitem__(self, name: str) -> T:
        if name in self._own:
            own = self._own[name]
            return EntryPoint(name, own, self._group).load() if isinstance(own, str) else own
        try:
            return self._others[name].load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # importing a package can raise anything
            entry = self._others[name]
            raise UsageError(
                f"entry point {name!r} of {self._group}",
                f"cannot import {entry.value}: {type(error).__name__}: {error}",
                fix=f"Repair or remove the package {entry.dist.name}." if entry.dist else "",
            ) from error

    def usable(self) -> tuple[str, ...]:
        """The names of all members that can be imported; warns about the others."""

        def works(name: str) -> bool:
            try:
                return self[name] is not None
            except UsageError as error:
                warnings.warn(f"Left out: {error}", stacklevel=3)
                return False

        return tuple(filter(works, self))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._others

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from sorted(self._others)

    def __len__(self) -> int:
        return len(self._own) + len(self._others)


def parse_pairs(argument: str, pairs: Sequence[str]) -> dict[str, str]:
    """Parses ``["a=1", "b=2"]`` into ``{"a": "1", "b": "2"}``.

    Raises:
        UsageError: an entry lacks a name or an equals sign, or a name is repeated.

    Example:
        >>> from mmjax.registry import parse_pairs
        >>> parse_pairs("options", ["split=speaker", "size=40"])
        {'split': 'speaker', 'size': '40'}
    """
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise UsageError(argument, expected="NAME=VALUE", got=repr(pair))
        if name in parsed:
            raise UsageError(argument, f"the name {name!r} is given more than once")
        parsed[name] = value
    return parsed


class Strategy(NamedTuple):
    """What the name of a strategy says: ``FUSION``, ``FUSION@A+B``, ``A_only``, ``FUSION:focal``.

    Attributes:
        member: a key of ``FUSIONS``, or ``A_only`` for the unimodal baseline of modality A.
        modalities: those that it uses; empty for all.
        choices: what differs from the strategy without them: keys of ``METHODS`` and
            ``OBJECTIVES``, encoders as MODALITY=NAME, other factors (see ``comparison.factors``) as
            FACTOR=VALUE, and components that are removed as -NAME.
    """

    member: str
    modalities: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def parse_strategy(name: str) -> Strategy:
    """Parses the name of a strategy; whether its parts exist is not checked.

    Example:
        >>> from mmjax.registry import parse_strategy
        >>> parse_strategy("sum@audio+image:ogm_ge+image=patches")
        Strategy(member='sum', modalities=('audio', 'image'), choices=('ogm_ge', 'image=patches'))
        >>> parse_strategy("gmu:augment.image=crop+flip+focal").choices
        ('augment.image=crop+flip', 'focal')
    """
    rest, colon, choices = name.strip().partition(":")
    member, at, modalities = rest.partition("@")
    some = lambda given, text: tuple(text.split("+")) if given else ()
    found: list[str] = []
    for piece in some(colon, choices):
        begins = "=" in piece or piece.startswith("-") or piece in {*METHODS, *OBJECTIVES}
        if begins or not found or "=" not in found[-1]:
            found.append(piece)
        else:  # a further part of the value before it
            found[-1] += f"+{piece}"
    return Strategy(member, some(at, modalities), tuple(found))


FUSIONS: Table[type] = Table(
    "mmjax.fusions",
    {
        "early": "mmjax.fusion.early:EarlyFusion",
        "concat": "mmjax.fusion.concat:ConcatFusion",
        "sum": "mmjax.fusion.elementwise:SumFusion",
        "mean": "mmjax.fusion.elementwise:MeanFusion",
        "max": "mmjax.fusion.elementwise:MaxFusion",
        "product": "mmjax.fusion.elementwise:ProductFusion",
        "weighted": "mmjax.fusion.weighted:WeightedFusion",
        "attention_pool": "mmjax.fusion.weighted:AttentionPoolFusion",
        "hemis": "mmjax.fusion.hemis:HeMISFusion",
        "deepsets": "mmjax.fusion.deepsets:DeepSetsFusion",
        "gmu": "mmjax.fusion.gmu:GMUFusion",
        "gated": "mmjax.fusion.gated:GatedFusion",
        "nl_gate": "mmjax.fusion.nl_gate:NLGateFusion",
        "film": "mmjax.fusion.gated:FiLMFusion",
        "mi_matrix": "mmjax.fusion.multiplicative:MatrixInteractionFusion",
        "mi_vector": "mmjax.fusion.multiplicative:VectorInteractionFusion",
        "mi_scalar": "mmjax.fusion.multiplicative:ScalarInteractionFusion",
        "mcb": "mmjax.fusion.bilinear:MCBFusion",
        "mlb": "mmjax.fusion.bilinear:MLBFusion",
        "mfb": "mmjax.fusion.bilinear:MFBFusion",
        "mfh": "mmjax.fusion.bilinear:MFHFusion",
        "tucker": "mmjax.fusion.tucker:TuckerFusion",
        "mutan": "mmjax.fusion.tucker:MutanFusion",
        "block": "mmjax.fusion.tucker:BlockFusion",
        "tensor": "mmjax.fusion.tensor:TensorFusion",
        "low_rank": "mmjax.fusion.tensor:LowRankFusion",
        "activation": "mmjax.fusion.activation:ActivationFusion",
        "mmtm": "mmjax.fusion.mmtm:MMTMFusion",
        "centralnet": "mmjax.fusion.centralnet:CentralNetFusion",
        "embracenet": "mmjax.fusion.embracenet:EmbraceNetFusion",
        "mixture_of_experts": "mmjax.fusion.mixture_of_experts:MixtureOfExpertsFusion",
        "fuse_moe": "mmjax.fusion.fuse_moe:FuseMoEFusion",
        "i2moe": "mmjax.fusion.i2moe:I2MoEFusion",
        "transformer": "mmjax.fusion.transformer:TransformerFusion",
        "late_transformer": "mmjax.fusion.late_transformer:LateTransformerFusion",
        "cross_attention": "mmjax.fusion.cross_attention:CrossAttentionFusion",
        "co_attention": "mmjax.fusion.co_attention:CoAttentionFusion",
        "gated_cross_attention": "mmjax.fusion.gated_cross_attention:GatedCrossAttentionFusion",
        "coupled_mamba": "mmjax.fusion.coupled_mamba:CoupledMambaFusion",
        "bottleneck": "mmjax.fusion.bottleneck:BottleneckFusion",
        "perceiver_io": "mmjax.fusion.perceiver_io:PerceiverIOFusion",
        "healnet": "mmjax.fusion.healnet:HEALNetFusion",
        "q_former": "mmjax.fusion.q_former:QFormerFusion",
        "zorro": "mmjax.fusion.zorro:ZorroFusion",
        "flex_moe": "mmjax.fusion.flex_moe:FlexMoEFusion",
        "hierarchical_attention": "mmjax.fusion.hierarchical_attention:HierarchicalAttentionFusion",
        "late_mean": "mmjax.fusion.late:LateMeanFusion",
        "late_prob_mean": "mmjax.fusion.late:LateProbMeanFusion",
        "late_max": "mmjax.fusion.late:LateMaxFusion",
        "late_weighted": "mmjax.fusion.late:LateWeightedFusion",
        "product_of_experts": "mmjax.fusion.late:ProductOfExpertsFusion",
        "mmcosine": "mmjax.fusion.mmcosine:MMCosineFusion",
        "i2m2": "mmjax.fusion.i2m2:I2M2Fusion",
        "evidential": "mmjax.fusion.evidential:EvidentialFusion",
        "etmc": "mmjax.fusion.evidential:ETMCFusion",
        "energy_weighted": "mmjax.fusion.energy_weighted:EnergyWeightedFusion",
        "dynamic": "mmjax.fusion.dynamic:DynamicFusion",
        "simmlm": "mmjax.fusion.simmlm:SimMLMFusion",
        "stacking": "mmjax.fusion.stacking:StackingFusion",
        "mvae": "mmjax.fusion.vae:MVAEFusion",
        "mmvae": "mmjax.fusion.vae:MMVAEFusion",
        "mopoe": "mmjax.fusion.vae:MoPoEFusion",
        "mfm": "mmjax.fusion.mfm:MFMFusion",
        "misa": "mmjax.fusion.misa:MISAFusion",
        "mctn": "mmjax.fusion.mctn:MCTNFusion",
        "refnet": "mmjax.fusion.refnet:ReFNetFusion",
        "shaspec": "mmjax.fusion.shaspec:ShaSpecFusion",
        "deep_cca": "mmjax.fusion.deep_cca:DeepCCAFusion",
        "searched": "mmjax.fusion.searched:SearchedFusion",
    },
)

CORE = (
    "early",
    "concat",
    "sum",
    "product",
    "attention_pool",
    "gmu",
    "transformer",
    "cross_attention",
    "late_mean",
    "product_of_experts",
)
"""The default fusions of a comparison: ten that cover most kinds."""

ENCODERS: "Table[type[nn.Module]]" = Table(
    "mmjax.encoders",
    {
        "bag": "mmjax.encoders.text:Bag",
        "cnn": "mmjax.encoders.cnn:CNN",
        "cnn1d": "mmjax.encoders.cnn:CNN1D",
        "cnn2d": "mmjax.encoders.cnn:CNN2D",
        "cnn3d": "mmjax.encoders.cnn:CNN3D",
        "ft_transformer": "mmjax.encoders.table:FTTransformer",
        "gru": "mmjax.encoders.gru:GRU",
        "mlp": "mmjax.encoders.mlp:MLPEncoder",
        "one_hot": "mmjax.encoders.one_hot:OneHot",
        "patches": "mmjax.encoders.transformer:Patches",
        "raw": "mmjax.encoders.raw:Raw",
        "table": "mmjax.encoders.table:TableEncoder",
        "text": "mmjax.encoders.text:TextEncoder",
        "transformer": "mmjax.encoders.transformer:Transformer",
        "video": "mmjax.encoders.video:Video",
    },
)

OBJECTIVES: "Table[Objective]" = Table(
    "mmjax.objectives",
    {
        "cross_entropy": "mmjax.objectives.classification:cross_entropy",
        "label_smoothing": "mmjax.objectives.classification:label_smoothing",
        "focal": "mmjax.objectives.classification:focal",
        "mse": "mmjax.objectives.classification:mse",
        "info_nce": "mmjax.objectives.contrastive:info_nce",
        "supervised_contrastive": "mmjax.objectives.contrastive:supervised_contrastive",
        "deep_cca": "mmjax.objectives.deep_cca:deep_cca",
        "branches": "mmjax.objectives.branches:branches",
        "branch_mean": "mmjax.objectives.branches:branch_mean",
        "evidential": "mmjax.objectives.evidential:evidential",
        "confidence_ranking": "mmjax.objectives.confidence_ranking:confidence_ranking",
    },
)

METHODS: Table[type] = Table(
    "mmjax.methods",
    {
        "joint": "mmjax.methods.joint:Joint",
        "two_stage": "mmjax.methods.two_stage:TwoStage",
        "modality_dropout": "mmjax.methods.modality_dropout:ModalityDropout",
        "gradient_blending": "mmjax.methods.gradient_blending:GradientBlending",
        "ogm_ge": "mmjax.methods.ogm_ge:OGMGE",
        "opm": "mmjax.methods.opm:OPM",
        "agm": "mmjax.methods.agm:AGM",
        "pmr": "mmjax.methods.pmr:PMR",
        "mmpareto": "mmjax.methods.mmpareto:MMPareto",
        "mla": "mmjax.methods.mla:MLA",
        "cml": "mmjax.methods.cml:CML",
        "sample_valuation": "mmjax.methods.sample_valuation:SampleValuation",
        "greedy": "mmjax.methods.greedy:Greedy",
        "more_vs_fewer": "mmjax.methods.more_vs_fewer:MoreVsFewer",
        "comm": "mmjax.methods.comm:CoMM",
        "distillation": "mmjax.methods.distillation:Distillation",
        "stacking": "mmjax.methods.stacking:Stacking",
        "arl": "mmjax.methods.arl:ARL",
        "cggm": "mmjax.methods.cggm:CGGM",
        "recon_boost": "mmjax.methods.recon_boost:ReconBoost",
        "lfm": "mmjax.methods.lfm:LFM",
        "relearning": "mmjax.methods.relearning:Relearning",
    },
)

AUGMENTATIONS: Table[type] = Table(
    "mmjax.augmentations",
    {
        "crop": "mmjax.augmentations.crop:Crop",
        "cutout": "mmjax.augmentations.cutout:Cutout",
        "feature_dropout": "mmjax.augmentations.feature_dropout:FeatureDropout",
        "flip": "mmjax.augmentations.flip:Flip",
        "noise": "mmjax.augmentations.noise:Noise",
        "spec_augment": "mmjax.augmentations.spec_augment:SpecAugment",
    },
)

METRICS: "Table[Metric]" = Table(
    "mmjax.metrics",
    {
        "accuracy": "mmjax.metrics.decisions:ACCURACY",
        "balanced_accuracy": "mmjax.metrics.decisions:BALANCED_ACCURACY",
        "macro_f1": "mmjax.metrics.decisions:MACRO_F1",
        "micro_f1": "mmjax.metrics.decisions:MICRO_F1",
        "weighted_f1": "mmjax.metrics.decisions:WEIGHTED_F1",
        "auroc": "mmjax.metrics.ranking:AUROC",
        "auprc": "mmjax.metrics.ranking:AUPRC",
        "log_loss": "mmjax.metrics.losses:LOG_LOSS",
        "r2": "mmjax.metrics.losses:R2",
        "rmse": "mmjax.metrics.losses:RMSE",
        "mae": "mmjax.metrics.losses:MAE",
        "pearson": "mmjax.metrics.correlation:PEARSON",
        "spearman": "mmjax.metrics.correlation:SPEARMAN",
    },
)

TASKS: Table[Callable[..., Any]] = Table(
    "mmjax.tasks",
    {
        "arrays": "mmjax.tasks.arrays:arrays",
        "av_mnist": "mmjax.tasks.av_mnist:av_mnist",
        "basic_motions": "mmjax.tasks.basic_motions:basic_motions",
        "clothing_reviews": "mmjax.tasks.clothing_reviews:clothing_reviews",
        "digit_sets": "mmjax.tasks.digit_sets:digit_sets",
        "digit_sum": "mmjax.tasks.digit_sum:digit_sum",
        "digits": "mmjax.tasks.digits:digits",
        "embeddings": "mmjax.tasks.embeddings:embeddings",
        "folder": "mmjax.tasks.folder:folder",
        "japanese_vowels": "mmjax.tasks.japanese_vowels:japanese_vowels",
        "mnist_fsdd": "mmjax.tasks.mnist_fsdd:mnist_fsdd",
        "multiple_features": "mmjax.tasks.multiple_features:multiple_features",
        "nutrimouse": "mmjax.tasks.nutrimouse:nutrimouse",
        "spoken_list": "mmjax.tasks.spoken_list:spoken_list",
        "strokes": "mmjax.tasks.strokes:strokes",
        "synthetic": "mmjax.tasks.synthetic:synthetic",
        "tfds": "mmjax.tasks.tfds:tfds",
        "written_spoken_digits": "mmjax.tasks.written_spoken_digits:written_spoken_digits",
    },
)

ABSENCES = {
    "mask": "nothing: its tokens are masked",
    "zero": "an input of zeros, after standardisation; an empty text",
    "mean": "the mean of the training inputs; an empty text",
    "learned": "learned tokens",
}
"""What replaces a modality that a row lacks."""

DTYPES = ("float32", "bfloat16")
"""Dtypes of the computation in training."""

SAMPLINGS = {
    "shuffled": "each row once an epoch",
    "balanced": "each class equally often, rows of rare classes repeatedly",
}
"""Which training rows an epoch takes."""

EXAMINATIONS = ("missing", "corruptions", "embeddings", "weights", "cost")
"""Measurements that can be taken of a trained arm beyond its scores."""
FULL = "full"
"""All of them, and corruptions on every row rather than on a sample."""
