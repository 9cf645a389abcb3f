"""The classifier in pipelines that skl2onnx converts."""

from __future__ import annotations

from typing import Any

from .classifier import GenerativeTransportClassifier
from .export.graph import OPSET, feature_shape, onnx_model
from .optional import require

_ALIAS = "GendiffclfGenerativeTransportClassifier"
_DEFAULT_DOMAIN = ""


def register_onnx_converter() -> None:
    """
    Let skl2onnx convert pipelines that end in a `GenerativeTransportClassifier`.

    Afterwards `skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32))` works for pipelines of scikit-learn's steps and this
    classifier. The option `zipmap=False` gives probabilities as a matrix.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> from gendiffclf import register_onnx_converter
    >>> register_onnx_converter()  # doctest: +SKIP
    """
    require("skl2onnx", "onnx")
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"], "output_class_labels": [False, True]}
    update_registered_converter(
        GenerativeTransportClassifier, _ALIAS, calculate_linear_classifier_output_shapes, _convert, options=options
    )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Put the classifier's graph into that of the pipeline."""
    from onnx import TensorProto, helper

    classifier = operator.raw_operator
    shape = feature_shape(classifier)
    if len(shape) > 1:
        raise ValueError(
            f"Got a classifier of layered input {shape}, expected rows (n, d), as scikit-learn's steps make them; export it "
            "alone, with to_onnx."
        )
    if container.target_opset < OPSET:
        raise ValueError(
            f"Got target_opset={container.target_opset}, expected at least {OPSET}; pass target_opset={OPSET}."
        )
    prefix = scope.get_unique_variable_name("gendiffclf_")
    graph = onnx_model(classifier).graph
    _put_before_names(graph, prefix)
    container.add_node(
        "Cast",
        [operator.inputs[0].full_name],
        [f"{prefix}X"],
        name=scope.get_unique_operator_name("Cast"),
        to=TensorProto.FLOAT,
    )
    for tensor in graph.initializer:
        # Strings have no raw bytes, which is all that the container copies.
        container.initializers.append(tensor)
    for node in graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        container.add_node(
            node.op_type, list(node.input), list(node.output), _DEFAULT_DOMAIN, OPSET, node.name, **attributes
        )
    for name, output in zip(("label", "probabilities"), operator.outputs, strict=True):
        container.add_node(
            "Identity", [prefix + name], [output.full_name], name=scope.get_unique_operator_name("Identity")
        )


def _put_before_names(graph: Any, prefix: str) -> None:
    """Give a graph's values other names; onnx's own function for this leaves out what inner graphs take from outer ones."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = prefix + value.name
    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [name and prefix + name for name in node.input]  # an input left out has no name
        node.output[:] = [name and prefix + name for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _put_before_names(attribute.g, prefix)
