//! A graph that grows node by node. Each value knows its type and shape, so that a node whose inputs
//! don't fit is an error when it is added, not when a runtime loads the file.

use super::{
    Error,
    schema::{
        AttributeProto, DimensionProto, GraphProto, INT, INTS, NodeProto, STRING, TensorProto,
        TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    },
};
use crate::weights::stored::{Numbers, StoredTensors};

/// A type of numbers: its number in ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Int64 = 7,
}

/// A size of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dim {
    /// Always that.
    Size(i64),
    /// What the caller gives, by its name in the file.
    Any(&'static str),
}

/// An input of the graph, an initializer or the output of a node.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<Dim>,
}

impl Value {
    /// In place of an optional input.
    pub(super) const fn none() -> Self {
        Self { name: String::new(), element: Element::Float, shape: Vec::new() }
    }

    /// The size in that dimension.
    ///
    /// # Errors
    /// It has none, or any size.
    pub(super) fn size(&self, dimension: usize) -> Result<i64, Error> {
        match self.shape.get(dimension) {
            Some(Dim::Size(size)) => Ok(*size),
            other => Err(self.unfit(&format!("dimension {dimension} is {other:?}"))),
        }
    }

    /// That the value doesn't fit the node that takes it.
    pub(super) fn unfit(&self, reason: &str) -> Error {
        let Self { name, element, shape } = self;
        Error::Network(format!("`{name}`, {element:?} {shape:?}: {reason}"))
    }

    fn proto(&self) -> ValueInfoProto {
        let dim = |dim: &Dim| match *dim {
            Dim::Size(size) => DimensionProto { dim_value: Some(size), dim_param: None },
            Dim::Any(name) => DimensionProto { dim_value: None, dim_param: Some(name.to_owned()) },
        };
        let shape = TensorShapeProto { dim: self.shape.iter().map(dim).collect() };
        let tensor_type =
            TensorTypeProto { elem_type: Some(self.element as i32), shape: Some(shape) };
        ValueInfoProto {
            name: self.name.clone(),
            r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
            doc_string: String::new(),
        }
    }
}

/// Numbers that belong to the graph.
#[derive(Debug)]
pub(super) struct Initializer {
    /// Without its numbers.
    pub(super) tensor: TensorProto,
    pub(super) numbers: Numbers,
}

/// The graph, and the model file that its weights are taken from.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) proto: GraphProto,
    pub(super) initializers: Vec<Initializer>,
    pub(super) weights: StoredTensors,
}

impl Graph {
    /// A graph without nodes.
    pub(super) fn new(name: &str, weights: StoredTensors) -> Self {
        let proto = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        Self { proto, initializers: Vec::new(), weights }
    }

    /// Adds an input.
    pub(super) fn input(
        &mut self,
        name: &str,
        element: Element,
        shape: &[Dim],
        what: &str,
    ) -> Value {
        let value = Value { name: name.to_owned(), element, shape: shape.to_vec() };
        self.proto.input.push(ValueInfoProto { doc_string: what.to_owned(), ..value.proto() });
        value
    }

    /// Makes a value an output.
    pub(super) fn output(&mut self, value: &Value, what: &str) {
        self.proto.value_info.retain(|other| other.name != value.name);
        self.proto.output.push(ValueInfoProto { doc_string: what.to_owned(), ..value.proto() });
    }

    /// Adds a node with one output, which has its name.
    pub(super) fn node(
        &mut self,
        (operator, name): (&str, &str),
        inputs: &[&Value],
        attributes: &[AttributeProto],
        element: Element,
        shape: Vec<Dim>,
    ) -> Value {
        let mut values = self.node_with_outputs((operator, name), inputs, attributes, &[name]);
        let output = Value { name: values.remove(0), element, shape };
        self.proto.value_info.push(output.proto());
        output
    }

    /// Adds a node with outputs of these names; their types and shapes are left to the reader.
    pub(super) fn node_with_outputs(
        &mut self,
        (operator, name): (&str, &str),
        inputs: &[&Value],
        attributes: &[AttributeProto],
        outputs: &[&str],
    ) -> Vec<String> {
        let output: Vec<_> = outputs.iter().map(|&name| name.to_owned()).collect();
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|value| value.name.clone()).collect(),
            output: output.clone(),
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute: attributes.to_vec(),
        });
        output
    }

    /// Adds floats of that shape.
    pub(super) fn floats(&mut self, name: &str, shape: &[i64], values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, Element::Float, shape, Numbers::Converted(bytes))
    }

    /// Adds a vector of integers, or a single one without a dimension.
    pub(super) fn integers(&mut self, name: &str, shape: &[i64], values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, Element::Int64, shape, Numbers::Converted(bytes))
    }

    /// Takes fp32 weights of that name and shape out of the model file.
    ///
    /// # Errors
    /// It doesn't have them.
    pub(super) fn weight(&mut self, name: &str, shape: &[i64]) -> Result<Value, Error> {
        let numbers = self.weights.take_fp32(name, shape)?;
        Ok(self.initializer(name, Element::Float, shape, numbers))
    }

    /// Takes weights of one byte each of that name and shape out of the model file.
    ///
    /// # Errors
    /// It doesn't have them.
    pub(super) fn weight_int8(&mut self, name: &str, shape: &[i64]) -> Result<Value, Error> {
        let numbers = self.weights.take_int8(name, shape)?;
        Ok(self.initializer(name, Element::Int8, shape, numbers))
    }

    fn initializer(
        &mut self,
        name: &str,
        element: Element,
        shape: &[i64],
        numbers: Numbers,
    ) -> Value {
        let tensor = TensorProto {
            dims: shape.to_vec(),
            data_type: Some(element as i32),
            name: name.to_owned(),
            ..TensorProto::default()
        };
        self.initializers.push(Initializer { tensor, numbers });
        let shape = shape.iter().map(|&size| Dim::Size(size)).collect();
        Value { name: name.to_owned(), element, shape }
    }
}

/// An attribute that is a number.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: Some(INT),
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// An attribute that is a list of numbers.
pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: Some(INTS),
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// An attribute that is a word.
pub(super) fn word(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: Some(STRING),
        s: Some(value.as_bytes().to_vec()),
        ..AttributeProto::default()
    }
}
