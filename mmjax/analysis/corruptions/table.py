"""The registry of corruptions."""

from mmjax.analysis.corruptions import coded_values, image, mispairing, sequence, waveform
from mmjax.analysis.corruptions.corruption import Corruption
from mmjax.registry import Table

CORRUPTIONS: Table[Corruption] = Table(
    "mmjax.corruptions",
    {
        corrupt.__name__: Corruption(kind, corrupt)
        for kind, members in {
            "pixels": (
                image.gaussian_noise,
                image.blur,
                image.occlusion,
                image.rotation,
                image.contrast,
                image.pixel_dropout,
            ),
            "waveform": (
                waveform.background_noise,
                waveform.time_shift,
                waveform.silencing,
                waveform.gain,
                waveform.reverberation,
                waveform.band_stop,
            ),
            "sequence": (
                sequence.sequence_noise,
                sequence.sequence_shift,
                sequence.time_masking,
                sequence.feature_masking,
            ),
            "vector": (sequence.vector_noise, sequence.feature_dropout),
            "text": (coded_values.token_dropout, coded_values.token_replacement),
            "table": (coded_values.cell_dropout,),
            "pairs": (mispairing.conflicting, mispairing.desynchronised),
        }.items()
        for corrupt in members
    },
)
