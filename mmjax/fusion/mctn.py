"""Cyclic translation: a code of one modality that can be translated to the others, and back."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import read_out
from mmjax.fusion.latent import decoders, squared_error, targets
from mmjax.layers import MLP, Dense, is_present, masked_mean, mean_where
from mmjax.types import Outputs, Removable, Tokens


class MCTNFusion(nn.Module):
    """Translates each modality to every other and back, and classifies from the codes in between.

    :math:`h_s = E_s(x_s)`, :math:`y_{st} = D_t(h_s)` translates to :math:`x_t`, and
    :math:`D_s(B_t(y_{st}))` returns to :math:`x_s`; the squared errors of both are added to the
    loss. The paper translates sequences from one source, and uses the target in training only. Here
    every modality present is a source, and an MLP predicts the class from the mean of their
    :math:`h_s`, so that all are used; as each has learned to predict the others, one alone
    suffices. One modality: an MLP, with nothing to translate to. Two or many: all ordered pairs,
    with one encoder and one decoder per modality. Nothing is translated to or from an absent
    modality, and its :math:`h_s` is left out of the mean.

    Reference: Pham et al., Found in Translation: Learning Robust Joint Representations by Cyclic
    Translations Between Modalities (arXiv:1812.07809).

    Attributes:
        out_dim: size of the output.
        width: size of the representations and of the hidden layers.
        translation_weight: weight of the squared error of translations, averaged over the pairs.
        cycle_weight: weight of the squared error of back-translations, averaged over the pairs.
        dropout: probability of zeroing a hidden unit of an encoder, or of the readout input, in
            training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MCTNFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MCTNFusion(out_dim=3, cycle_weight=0.5)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux)
        ['cycle', 'translation']
    """

    level: ClassVar[str] = "latent"
    removable: ClassVar[Removable] = {
        "translation": {"translation_weight": 0.0},
        "cycle": {"cycle_weight": 0.0},
    }
    out_dim: int
    width: int = 64
    translation_weight: float = 0.1
    cycle_weight: float = 0.1
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        names, present = sorted(tokens), is_present(tokens)
        encode = lambda n: MLP((self.width, self.width), self.dropout, name=f"encode_{n}")
        encoded = [jnp.tanh(encode(n)(masked_mean(tokens[n]), train=train)) for n in names]
        hidden = jnp.where(present[..., None], jnp.stack(encoded, axis=1), 0)
        count = jnp.maximum(present.sum(axis=1, keepdims=True), 1).astype(hidden.dtype)
        predict = Dense(self.width, name="predict")
        outputs = read_out(self, nn.relu(predict(hidden.sum(axis=1) / count)), train=train)
        decode, want = decoders(tokens, self.width), targets(tokens)
        there, each = [], []
        for n in names:  # from all, itself included, which is masked out below
            translated = decode[n](hidden, train=False)
            there.append(squared_error(translated, want[n][:, None]))
            each.append(jnp.tanh(Dense(self.width, name=f"return_{n}")(translated)))
        codes = jnp.stack(each, axis=2)  # [batch, source, target, width]
        returned = lambda i, n: decode[n](codes[:, i], train=False)
        back = [squared_error(returned(i, n), want[n][:, None]) for i, n in enumerate(names)]
        pairs = present[:, :, None] & present[:, None] & ~jnp.eye(len(names), dtype=bool)[None]
        aux = {
            "translation": self.translation_weight * mean_where(pairs, jnp.stack(there, axis=2)),
            "cycle": self.cycle_weight * mean_where(pairs, jnp.stack(back, axis=1)),
        }
        return outputs._replace(aux=aux)
