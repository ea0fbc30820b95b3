"""The dataflow of a fusion, read from the program that JAX traces of it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard

import flax.linen as nn
import jax
from jax.extend.core import JaxprEqn, Var

from mmjax.layers import kernels
from mmjax.types import Outputs, Tokens

Place = tuple[str, str]
"""Kind and name. Kinds are "modality", "parameter" (of the fusion itself), "module" (one of its
submodules), "operations" (which join data from several places) and "output"."""

# Operations that only move or mask numbers are not shown.
_SILENT = {"broadcast_in_dim", "convert_element_type", "copy", "gather", "iota", "pad", "reshape"}
_SILENT |= {"select_n", "slice", "split", "squeeze", "stop_gradient", "transpose", "unstack"}
_SILENT |= {"where", "clip"}
_WORDS = {"sub": "subtract", "neg": "negate", "mul": "multiply", "div": "divide"}
_WORDS |= {"reduce_sum": "sum", "reduce_max": "max", "reduce_prod": "product"}
_WORDS |= {"concatenate": "concat", "logistic": "sigmoid", "integer_pow": "power"}
_WORDS |= {"dot_general": "matmul"}
_BY_COUNT = "scale"
_IDIOMS = {
    ("sum", _BY_COUNT): "mean",
    ("max", "subtract", "exp", "sum", "divide"): "softmax",
    ("max", "subtract", "exp", "sum", "log", "add"): "logsumexp",
}


class Node(NamedTuple):
    """A place of a dataflow.

    Attributes:
        shape: of its array, or of the first of several; () for operations.
        kind: class name of a module, otherwise "".
        operations: operations that join data from several places, in order.
    """

    shape: tuple[int, ...] = ()
    kind: str = ""
    operations: tuple[str, ...] = ()


class Dataflow(NamedTuple):
    """A directed graph.

    Attributes:
        nodes: {place: node}, in the order in which they are encountered.
        edges: {(from, to): operations on the way, in order}.
    """

    nodes: dict[Place, Node]
    edges: dict[tuple[Place, Place], tuple[str, ...]]


def trace_dataflow(fusion: nn.Module, tokens: Mapping[str, Tokens]) -> Dataflow:
    """Traces the submodules, parameters and operations between the modalities and the outputs.

    Nothing is computed. Dropout, masks, and whatever depends on masks alone are omitted.

    Args:
        fusion: maps ``{name: [batch, length, features]}`` to ``[batch, out_dim]`` or to Outputs.
        tokens: {name: Tokens} of any size.

    Example:
        >>> from mmjax.fusion import FUSIONS
        >>> from mmjax.testing import make_tokens
        >>> tokens = make_tokens({"image": (4, 8), "audio": (1, 8)})
        >>> flow = trace_dataflow(FUSIONS["concat"](out_dim=3), tokens)
        >>> ("output", "prediction") in flow.nodes
        True
    """
    run = lambda variables, tokens: fusion.apply(variables, tokens, train=False)
    init = lambda tokens: fusion.init(jax.random.key(0), tokens, train=False)
    variables = jax.eval_shape(init, tokens)
    modules: dict[str, Node] = {}

    def note(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if len(context.module.path) == 1:
            (name,) = context.module.path
            modules[name] = Node(jax.tree.leaves(out)[0].shape, type(context.module).__name__)
        return out

    with nn.intercept_methods(note), kernels.without():
        program, out = jax.make_jaxpr(run, return_shape=True)(variables, tokens)
    graph = _Graph(modules)
    for var, (path, leaf) in zip(program.jaxpr.invars, _leaves((variables, tokens)), strict=True):
        graph.begin(var, path, leaf)
    for equation in _live(program.jaxpr):
        graph.follow(equation)
    for var, (path, leaf) in zip(program.jaxpr.outvars, _leaves(out), strict=True):
        graph.end(var, path, leaf)
    return Dataflow(graph.nodes, graph.edges)


class _Graph:
    """Follows a program, equation by equation, and records the origin of each variable."""

    def __init__(self, modules: Mapping[str, Node]) -> None:
        self.modules = modules
        self.nodes: dict[Place, Node] = {}
        self.edges: dict[tuple[Place, Place], tuple[str, ...]] = {}
        self._from: dict[Var, tuple[Place, tuple[str, ...]]] = {}
        self._joined: dict[Place, set[Place]] = {}

    def begin(self, var: Var, path: tuple[str, ...], leaf: Any) -> None:
        """Starts at a parameter, ``0/params/name/..``, or at a modality, ``1/name/values``."""
        kind, *names = path
        if kind == "1" and names[-1] == "values":
            place = ("modality", names[0])
        elif kind == "0" and names[0] == "params":
            place = ("module" if names[2:] else "parameter", names[1])
        else:
            return
        self._from[var] = place, ()
        if place[0] != "module":
            self.nodes[place] = Node(leaf.shape)

    def follow(self, equation: JaxprEqn) -> None:
        """The origin of a result is the module that computes it, otherwise that of its inputs."""
        reads = [self._from[x] for x in equation.invars if self._known(x)]
        made: list[Any] = [x.aval for x in equation.outvars]
        if not reads or all(aval.dtype == bool for aval in made):
            return
        word = self._word(equation)
        done: tuple[str, ...] = ()
        origins = {origin for origin, _ in reads}
        module = self._module(equation)
        if module:
            place = self._arrive(("module", module), reads)
        elif len(origins) > 1:
            place = self._arrive(self._join(origins), reads, word)
        elif origins <= self._joined.keys():
            place = self._arrive(next(iter(origins)), [], word)
        else:
            (place,) = origins
            done = _then(*(words for _, words in reads), word)
        self._from |= dict.fromkeys(equation.outvars, (place, done))

    def end(self, var: Var, path: tuple[str, ...], leaf: Any) -> None:
        if path[:1] == ("tokens",):
            return
        place = ("output", " ".join(path) or Outputs._fields[0])
        self.nodes[place] = Node(leaf.shape)
        self._arrive(place, [self._from[var]] if self._known(var) else [])

    def _known(self, x: Any) -> TypeGuard[Var]:
        """Whether a variable or constant originates from any place."""
        return isinstance(x, Var) and x in self._from

    def _module(self, equation: JaxprEqn) -> str | None:
        """The submodule that an equation belongs to, by the scope names that Flax sets."""
        scopes = str(equation.source_info.name_stack).split("/")
        return next((scope for scope in scopes if scope in self.modules), None)

    def _word(self, equation: JaxprEqn) -> tuple[str, ...]:
        """The name of an operation; empty for one that only moves numbers."""
        params = equation.params
        inner = params["call_jaxpr"].eqns[:1] if "call_jaxpr" in params else ()
        named = [params.get("name"), *(e.params.get("name") for e in inner)]
        name = next(filter(None, named), equation.primitive.name).strip("_")
        constants = [x for x in equation.invars if not _is_var(x)]
        if name == "div" and not self._known(equation.invars[1]):
            return (_BY_COUNT,)
        if constants and name in ("add", "mul"):
            return ()
        return () if name in _SILENT else (_WORDS.get(name, name.replace("_", " ")),)

    def _join(self, origins: set[Place]) -> Place:
        """The operations that join these places; reused where they or their sources occur again."""
        for place, joined in self._joined.items():
            if origins == joined or (place in origins and origins - {place} <= joined):
                return place
        place = ("operations", str(len(self._joined)))
        self._joined[place] = origins
        return place

    def _arrive(self, place: Place, reads: Iterable, word: tuple[str, ...] = ()) -> Place:
        node = self._node(place)
        self.nodes[place] = node._replace(operations=_then(node.operations, word))
        for origin, words in reads:
            if origin != place:
                self.nodes[origin] = self._node(origin)
                way = (origin, place)
                self.edges[way] = _then(self.edges.get(way, ()), words)
        return place

    def _node(self, place: Place) -> Node:
        return self.nodes.get(place) or self.modules.get(place[1], Node())


def _then(*parts: tuple[str, ...]) -> tuple[str, ...]:
    """Concatenates sequences of words, except where one is a prefix of the other."""
    words: tuple[str, ...] = ()
    for part in parts:
        if part == words[: len(part)] or words == part[: len(words)]:
            words = max(words, part, key=len)
        else:
            words += part
    for idiom, name in _IDIOMS.items():
        if words[-len(idiom) :] == idiom:
            words = (*words[: -len(idiom)], name)
    return words


def _live(program: Any) -> list[JaxprEqn]:
    """The equations that an output depends on, in order."""
    wanted = set(filter(_is_var, program.outvars))
    live: list[JaxprEqn] = []
    for equation in reversed(program.eqns):
        if wanted.intersection(equation.outvars):
            wanted.update(filter(_is_var, equation.invars))
            live.insert(0, equation)
    return live


def _is_var(x: Any) -> bool:
    return isinstance(x, Var)


def _leaves(tree: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and leaf, such as ``("branches", "name")``."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield tuple(jax.tree_util.keystr((key,), simple=True) for key in path), leaf
