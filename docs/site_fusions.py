"""The directive ``fusions``: entries of the zoo with their diagrams, from the code itself.

```{fusions} sum mean max
```
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mmjax.fusion import FUSIONS
from mmjax.report.diagram.drawing import module_figure
from mmjax.report.figures.svg import inline_svg
from mmjax.testing import make_tokens

_TOKENS = make_tokens({"audio": (5, 13), "image": (4, 32)}, batch=2)


class Fusions(SphinxDirective):
    """A section for each name: diagram, docstring, hyperparameters."""

    required_arguments = 1
    optional_arguments = len(FUSIONS)

    def run(self) -> list[nodes.Node]:
        text = "\n".join(map(_section, self.arguments))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _section(name: str) -> str:
    fusion = FUSIONS[name]
    picture = inline_svg(module_figure(fusion(out_dim=10), _TOKENS), f"Diagram of {name}")
    return f"""
## {name}

```{{eval-rst}}
.. autoclass:: mmjax.fusion.{fusion.__name__}
```

```{{raw}} html
<figure class="diagram">{picture}</figure>
```
"""


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("fusions", Fusions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
