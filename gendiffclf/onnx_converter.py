"""Converter for skl2onnx, for pipelines with the classifier."""

from __future__ import annotations

from typing import Any

from .classifier import GenerativeTransportClassifier
from .export.graph import OPSET, feature_shape, onnx_model
from .optional import require
from .tables import CATEGORY

_ALIAS = "GendiffclfGenerativeTransportClassifier"
_DEFAULT_DOMAIN = ""


def register_onnx_converter() -> None:
    """
    Register `GenerativeTransportClassifier` with skl2onnx.

    Then `skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32))` converts pipelines of scikit-learn's steps and this
    classifier. With the option `zipmap=False`, probabilities are a matrix.

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

    options = {"nocl": [False], "zipmap": [True, False, "columns"], "output_class_labels": [False, True]}
    update_registered_converter(
        GenerativeTransportClassifier, _ALIAS, calculate_linear_classifier_output_shapes, _convert, options=options
    )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the graph of the classifier to that of the pipeline."""
    from onnx import TensorProto, helper

    classifier = operator.raw_operator
    shape = feature_shape(classifier)
    if len(shape) > 1:
        raise ValueError(
            f"Got a classifier of layered input {shape}, expected rows (n, d), as from scikit-learn's steps; export it alone, "
            "with to_onnx."
        )
    columns = () if classifier.table_encoder_ is None else classifier.table_encoder_.columns
    if categories := [column.name for column in columns if column.kind == CATEGORY]:
        raise ValueError(
            f"Got a classifier fitted to the categories {categories}, expected numbers only; encode them in the pipeline, for "
            "example by OneHotEncoder, or export the classifier alone, with to_onnx."
        )
    if container.target_opset < OPSET:
        raise ValueError(
            f"Got target_opset={container.target_opset}, expected at least {OPSET}; pass target_opset={OPSET}."
        )
    prefix = scope.get_unique_variable_name("gendiffclf_")
    graph = onnx_model(classifier).graph
    _prefix_names(graph, prefix)
    container.add_node(
        "Cast",
        [operator.inputs[0].full_name],
        [f"{prefix}X"],
        name=scope.get_unique_operator_name("Cast"),
        to=TensorProto.FLOAT,
    )
    for tensor in graph.initializer:
        # The container's own method copies only raw bytes, which string tensors lack.
        container.initializers.append(tensor)
    for node in graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        container.add_node(
            node.op_type, list(node.input), list(node.output), _DEFAULT_DOMAIN, OPSET, node.name, **attributes
        )
    label, probabilities = (output.full_name for output in operator.outputs)
    # skl2onnx declares labels other than strings as integers.
    of_text = classifier.classes_.dtype.kind in "UO"
    container.add_node(
        "Identity" if of_text else "Cast",
        [f"{prefix}label"],
        [label],
        name=scope.get_unique_operator_name("Label"),
        **({} if of_text else {"to": TensorProto.INT64}),
    )
    container.add_node(
        "Identity", [f"{prefix}probabilities"], [probabilities], name=scope.get_unique_operator_name("Identity")
    )


def _prefix_names(graph: Any, prefix: str) -> None:
    """Prefix all names in a graph, unlike onnx's own function also those in subgraphs that refer to outer graphs."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = prefix + value.name
    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [name and prefix + name for name in node.input]  # an omitted optional input has no name
        node.output[:] = [name and prefix + name for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _prefix_names(attribute.g, prefix)
