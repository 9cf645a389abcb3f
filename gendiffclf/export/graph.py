"""
Export of a fitted classifier to an ONNX graph by torch, from the predictor's own modules.

The network is in float32, as in training, and everything else in float64, since differences of distances and sums of the kernel's
large coefficients lose digits. Tensors that are exact in float32 are stored in float32.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .._version import VERSION
from ..estimators.network import TransportNetwork
from ..optional import require
from ..persistence import check_labels
from ..transport.solvers import step_noise
from .predictor import FORMAT_VERSION, METADATA_KEY
from .scaling import ScalingModule

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

OPSET = 18
"""Version of the ONNX operators, that of torch's exporter."""
IR_VERSION = 8
"""Version of the file format for this opset."""
_MIN_SIZE = 1024
"""Smaller tensors are stored unchanged."""


def onnx_model(classifier: Any) -> ModelProto:
    """
    Export a fitted classifier.

    The input `X` is of shape (n, d) or (n, layers, d), float32; the outputs are `label` (n,) and `probabilities` (n, K), float32.

    An ImportError without onnx or onnxscript; a TypeError if labels are neither numbers, booleans nor strings.
    """
    onnx = require("onnx", "onnx")
    classes = _onnx_labels(classifier.classes_)
    shape = feature_shape(classifier)
    model = _exported(_ExportedClassifier(classifier), shape)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "gendiffclf", VERSION
    for node in _nodes(model.graph):
        del node.metadata_props[:]  # stack traces of the exporter
    _store_in_float32(model)
    # Labels are added here, since torch modules cannot hold strings.
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(classes, "classes"))
    graph.node.append(onnx.helper.make_node("Gather", ["classes", "label_index"], ["label"]))
    label = onnx.helper.make_tensor_value_info("label", graph.initializer[-1].data_type, ["n"])
    probabilities = next(output for output in graph.output if output.name == "probabilities")
    del graph.output[:]
    graph.output.extend([label, probabilities])
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(_metadata(classifier, shape))})
    onnx.checker.check_model(model)
    return model


def feature_shape(classifier: Any) -> tuple[int, ...]:
    """Shape of a row in the exported file: (d,), or (layers, d) for several layers."""
    layers, d = classifier.scaler_.center.shape
    return (d,) if layers == 1 else (layers, d)


class _ExportedClassifier(nn.Module):
    """Maps rows to the index of the label and to probabilities."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.scaling = ScalingModule(classifier.scaler_)
        predictor = classifier._predictor(torch.empty(0, dtype=torch.float64))
        if predictor.network is not None:
            self.network = _Float32Network(copy.deepcopy(classifier.network_).cpu().float())
            predictor = dataclasses.replace(predictor, network=self.network)
        if predictor.learned is not None:
            step_noise(predictor.learned.n_steps, predictor.codes.shape[1])  # cached: generators cannot be traced
        self.predictor = predictor
        self.prior = nn.Buffer(torch.as_tensor(classifier.class_prior_))

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """(n, d) or (n, layers, d) -> (n,), int64, and (n, K), float32."""
        layers = X if X.dim() == 3 else X[:, None]  # (n, d) -> (n, 1, d)
        probabilities = self.predictor.probabilities(self.scaling(layers).double())
        empty = layers.isnan().flatten(1).all(dim=1, keepdim=True)
        probabilities = torch.where(empty, self.prior, probabilities)
        return probabilities.argmax(1), probabilities.float()


class _Float32Network(nn.Module):
    """Wraps a float32 network for float64 tensors."""

    def __init__(self, network: TransportNetwork) -> None:
        super().__init__()
        self.network = network

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        x1, condition = self.network.split(rows.float())
        return x1.double(), condition

    def forward(self, x_t: Tensor, condition: Tensor, t: Tensor | None = None) -> Tensor:
        return self.network(x_t.float(), condition, None if t is None else t.float()).double()


def _exported(module: nn.Module, shape: tuple[int, ...]) -> ModelProto:
    require("onnxscript", "onnx")
    rows = torch.zeros(3, *shape)
    logger = logging.getLogger("torch.onnx")
    with ExitStack() as stack:
        # Tensors created in inference mode cannot be exported.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        # The exporter tells of deprecations within torch and of optional packages.
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        program = torch.onnx.export(
            module.eval(),
            (rows,),
            input_names=["X"],
            output_names=["label_index", "probabilities"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            custom_translation_table=_translations(),
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g)


def _translations() -> dict[Any, Callable[..., Any]]:
    """Return ONNX implementations of operators that torch's exporter or onnxruntime lacks."""
    from onnx_ir import Graph, Shape, Value, node
    from onnxscript import opset18

    op: Any = opset18  # its hints are for eager tensors

    def cdist(a: Any, b: Any, p: float, compute_mode: int | None = None) -> Any:
        """Computed row by row, since the differences of all rows would need much memory."""
        assert p == 1
        row = Value(name="row", type=a.type, shape=Shape(a.shape[1:]))
        difference = node("Sub", [row, b])
        size = node("Abs", [difference.outputs[0]])
        axis = node("Constant", [], attributes={"value_ints": [1]})
        distances = node("ReduceSum", [size.outputs[0], axis.outputs[0]], attributes={"keepdims": 0})
        nodes = [difference, size, axis, distances]
        body = Graph([row], distances.outputs, nodes=nodes, opset_imports={"": OPSET}, name="distances")
        return op.Scan(a, body=body, num_scan_inputs=1)

    def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
        """For float64, which onnxruntime lacks; log(1 + u) = u log(w) / (w - 1), w = 1 + u, is accurate for small u."""
        assert beta == 1
        zero, one = (op.CastLike(op.Constant(value_float=value), x) for value in (0.0, 1.0))
        u = op.Exp(op.Neg(op.Abs(x)))
        w = op.Add(u, one)
        rounded = op.Sub(w, one)
        lost = op.Equal(rounded, zero)
        log1p = op.Where(lost, u, op.Div(op.Mul(u, op.Log(w)), op.Where(lost, one, rounded)))
        return op.Add(op.Max(x, zero), log1p)

    def attention(query: Any, key: Any, value: Any) -> Any:
        """For tensors (M, B, h, T, L/h); the exporter supports only four axes."""
        scores = op.MatMul(query, op.Transpose(key, perm=[0, 1, 2, 4, 3]))
        root = op.CastLike(op.Constant(value_float=float(query.shape[-1]) ** -0.5), query)
        return op.MatMul(op.Softmax(op.Mul(scores, root), axis=-1), value)

    def take(table: Any, index: Any) -> Any:
        """The exporter's has more nodes, each of which takes time in a single row."""
        return op.Gather(op.Reshape(table, op.Constant(value_ints=[-1])), index)

    aten = torch.ops.aten
    return {
        aten.take.default: take,
        aten._cdist_forward.default: cdist,
        aten.softplus.default: softplus,
        aten.scaled_dot_product_attention.default: attention,
    }


def _store_in_float32(model: ModelProto) -> None:
    """Store float64 tensors that are exact in float32 as such, with a cast that onnxruntime applies on loading."""
    import onnx

    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.DOUBLE or np.prod(tensor.dims) < _MIN_SIZE:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            short = values.astype(np.float32)
        if not np.array_equal(short, values):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(short, f"{name}_float32"))
        graph.node.insert(0, onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.DOUBLE))


def _onnx_labels(classes: np.ndarray) -> np.ndarray:
    """Convert labels to types of ONNX: int64, float64, booleans or strings."""
    check_labels(classes)
    if classes.dtype.kind == "u" and classes[-1] > np.iinfo(np.int64).max:
        raise ValueError(
            f"Got the label {classes[-1]}, expected at most {np.iinfo(np.int64).max} in ONNX; encode labels."
        )
    types = {"i": np.int64, "u": np.int64, "f": np.float64, "U": object}
    return classes.astype(types.get(classes.dtype.kind, classes.dtype))


def _metadata(classifier: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the metadata for `load_predictor`."""
    encoder, names = classifier.table_encoder_, getattr(classifier, "feature_names_in_", None)
    if encoder is not None:  # scikit-learn keeps names only if all are strings
        names = [column.name for column in encoder.columns]
    return {
        "format_version": FORMAT_VERSION,
        "package_version": VERSION,
        "classes": {"dtype": classifier.classes_.dtype.str, "values": classifier.classes_.tolist()},
        "n_features_in": int(classifier.n_features_in_),
        "feature_shape": list(shape),
        "feature_names": None if names is None else list(names),
        "columns": None if encoder is None else [dataclasses.asdict(column) for column in encoder.columns],
    }
