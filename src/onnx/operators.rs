//! The operators of ONNX that our networks need, version 18 of its operator set.

use super::{
    Error,
    graph::{Dim, Element, Graph, Value, int, ints, word},
};

/// Version of the operators.
pub(super) const OPSET: i64 = 18;

/// How the kernel of a convolution moves over its input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Distance of its places, in pixels.
    pub(super) stride: i64,
    /// Zeros before and after the pixels, the same down and across.
    pub(super) padding: [i64; 2],
    /// Groups of channels that are convolved separately.
    pub(super) groups: i64,
}

impl Graph {
    /// A convolution of `x`, `[n, in, height, width]`, with the weights of that layer, whose kernel
    /// has the shape `[out, in of a group, side, side]`.
    pub(super) fn convolution(
        &mut self,
        x: &Value,
        layer: &str,
        kernel: [i64; 4],
        window: Window,
    ) -> Result<Value, Error> {
        let [outputs, inputs, side, _] = kernel;
        let Window { stride, padding: [before, after], groups } = window;
        if x.shape.len() != 4 || x.size(1)? != inputs * groups || outputs % groups != 0 {
            return Err(x.unfit(&format!("{layer} has the kernel {kernel:?}, {groups} groups")));
        }
        let mut shape = vec![x.shape[0], Dim::Size(outputs)];
        for dimension in [2, 3] {
            let room = x.size(dimension)? + before + after - side;
            if room < 0 {
                return Err(x.unfit(&format!("it is smaller than the kernel of {layer}")));
            }
            shape.push(Dim::Size(room / stride + 1));
        }
        let weight = self.weight(&format!("{layer}.weight"), &kernel)?;
        let bias = self.weight(&format!("{layer}.bias"), &[outputs])?;
        let attributes = [
            ints("kernel_shape", &[side, side]),
            ints("strides", &[stride, stride]),
            ints("pads", &[before, before, after, after]),
            int("group", groups),
        ];
        Ok(self.node(("Conv", layer), &[x, &weight, &bias], &attributes, x.element, shape))
    }

    /// A dense layer over `x`, `[n, inputs]`.
    pub(super) fn dense(&mut self, x: &Value, layer: &str, outputs: i64) -> Result<Value, Error> {
        if x.shape.len() != 2 {
            return Err(x.unfit(&format!("{layer} takes vectors")));
        }
        let weight = self.weight(&format!("{layer}.weight"), &[outputs, x.size(1)?])?;
        let bias = self.weight(&format!("{layer}.bias"), &[outputs])?;
        let shape = vec![x.shape[0], Dim::Size(outputs)];
        let attributes = [int("transB", 1)];
        Ok(self.node(("Gemm", layer), &[x, &weight, &bias], &attributes, x.element, shape))
    }

    /// 2×2 max pooling.
    pub(super) fn max_pool(&mut self, x: &Value, name: &str) -> Result<Value, Error> {
        let half = |dimension| Ok::<_, Error>(Dim::Size(x.size(dimension)? / 2));
        let shape = vec![x.shape[0], x.shape[1], half(2)?, half(3)?];
        let attributes = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        Ok(self.node(("MaxPool", name), &[x], &attributes, x.element, shape))
    }

    /// The mean of each channel of `x`, `[n, channels, height, width]`: `[n, channels]`.
    pub(super) fn mean_of_channels(&mut self, x: &Value, name: &str) -> Value {
        let axes = self.integers(&format!("{name}.axes"), &[2], &[2, 3]);
        let shape = x.shape[..2].to_vec();
        let attributes = [int("keepdims", 0)];
        self.node(("ReduceMean", name), &[x, &axes], &attributes, x.element, shape)
    }

    /// An operator that takes each number for itself.
    pub(super) fn each(&mut self, operator: &str, x: &Value, name: &str) -> Value {
        self.node((operator, name), &[x], &[], x.element, x.shape.clone())
    }

    /// An operator on two values, of which the second is broadcast to the shape of the first.
    pub(super) fn both(
        &mut self,
        operator: &str,
        (x, y): (&Value, &Value),
        name: &str,
    ) -> Result<Value, Error> {
        let longer = x.shape.len().checked_sub(y.shape.len());
        let tail = longer.and_then(|from| x.shape.get(from..)).unwrap_or_default();
        let fits = longer.is_some()
            && tail.iter().zip(&y.shape).all(|(x, y)| x == y || *y == Dim::Size(1));
        if !fits || x.element != y.element {
            return Err(x.unfit(&format!("{operator} with `{}`, {:?}", y.name, y.shape)));
        }
        Ok(self.node((operator, name), &[x, y], &[], x.element, x.shape.clone()))
    }

    /// An operator on `x` and a number.
    pub(super) fn with_number(
        &mut self,
        operator: &str,
        x: &Value,
        number: f32,
        name: &str,
    ) -> Result<Value, Error> {
        let number = self.floats(&format!("{name}.number"), &[], &[number]);
        self.both(operator, (x, &number), name)
    }

    /// Each number, at least the first limit and at most the second.
    pub(super) fn clip(&mut self, x: &Value, limits: &[Value; 2], name: &str) -> Value {
        let [least, most] = limits;
        self.node(("Clip", name), &[x, least, most], &[], x.element, x.shape.clone())
    }

    /// The numbers as another type.
    pub(super) fn cast(&mut self, x: &Value, to: Element, name: &str) -> Value {
        self.node(("Cast", name), &[x], &[int("to", to as i64)], to, x.shape.clone())
    }

    /// The dimensions in another order.
    pub(super) fn transpose(
        &mut self,
        x: &Value,
        order: &[usize],
        name: &str,
    ) -> Result<Value, Error> {
        let shape: Option<Vec<_>> = order.iter().map(|&from| x.shape.get(from).copied()).collect();
        let shape = shape.filter(|shape| shape.len() == x.shape.len());
        let shape = shape.ok_or_else(|| x.unfit("it has other dimensions than the transposed"))?;
        let order: Vec<_> = order.iter().map(|&from| from as i64).collect();
        Ok(self.node(("Transpose", name), &[x], &[ints("perm", &order)], x.element, shape))
    }

    /// `x`, `[n, channels, height, width]`, as vectors in the order height, width, channel.
    pub(super) fn flatten(&mut self, x: &Value, name: &str) -> Result<Value, Error> {
        let numbers = x.size(1)? * x.size(2)? * x.size(3)?;
        let last = self.transpose(x, &[0, 2, 3, 1], &format!("{name}.channels_last"))?;
        let shape = vec![x.shape[0], Dim::Size(numbers)];
        Ok(self.node(("Flatten", name), &[&last], &[int("axis", 1)], x.element, shape))
    }

    /// One dimension more, of size 1, in front.
    pub(super) fn as_batch(&mut self, x: &Value, name: &str) -> Value {
        let axes = self.integers(&format!("{name}.axes"), &[1], &[0]);
        let shape = [&[Dim::Size(1)], &*x.shape].concat();
        self.node(("Unsqueeze", name), &[x, &axes], &[], x.element, shape)
    }

    /// Images `[n, channels, height, width]` of that height and width: a triangle filter as wide as
    /// the reduction, over the pixels there are, as Pillow's `BILINEAR`.
    pub(super) fn resize(
        &mut self,
        x: &Value,
        height: i64,
        width: i64,
        name: &str,
    ) -> Result<Value, Error> {
        let shape = [x.size(0)?, x.size(1)?, height, width];
        let sizes = self.integers(&format!("{name}.sizes"), &[4], &shape);
        let attributes = [
            int("antialias", 1),
            word("coordinate_transformation_mode", "half_pixel"),
            int("exclude_outside", 1),
            word("mode", "linear"),
        ];
        let shape = shape.map(Dim::Size).to_vec();
        let none = Value::none();
        let inputs = [x, &none, &none, &sizes];
        Ok(self.node(("Resize", name), &inputs, &attributes, x.element, shape))
    }

    /// The entries of `x` at these places of a dimension.
    pub(super) fn gather(
        &mut self,
        x: &Value,
        dimension: usize,
        places: &[i64],
        name: &str,
    ) -> Value {
        let count = places.len() as i64;
        let places = self.integers(&format!("{name}.places"), &[count], places);
        let mut shape = x.shape.clone();
        shape[dimension] = Dim::Size(count);
        let attributes = [int("axis", dimension as i64)];
        self.node(("Gather", name), &[x, &places], &attributes, x.element, shape)
    }

    /// Two rows of columns, one beside the other.
    pub(super) fn beside(
        &mut self,
        left: &Value,
        right: &Value,
        name: &str,
    ) -> Result<Value, Error> {
        let columns = Dim::Size(left.size(1)? + right.size(1)?);
        let shape = vec![left.shape[0], columns];
        Ok(self.node(("Concat", name), &[left, right], &[int("axis", 1)], left.element, shape))
    }

    /// The softmax of each row.
    pub(super) fn softmax(&mut self, x: &Value, name: &str) -> Value {
        self.node(("Softmax", name), &[x], &[int("axis", 1)], x.element, x.shape.clone())
    }

    /// The column of the largest number of each row, of equal ones the last or the first.
    pub(super) fn largest(&mut self, x: &Value, last: bool, name: &str) -> Value {
        let attributes =
            [int("axis", 1), int("keepdims", 0), int("select_last_index", last.into())];
        self.node(("ArgMax", name), &[x], &attributes, Element::Int64, x.shape[..1].to_vec())
    }

    /// Rows of length 1; a row of zeros stays one.
    pub(super) fn unit_rows(&mut self, x: &Value, name: &str) -> Result<Value, Error> {
        let axes = self.integers(&format!("{name}.axes"), &[1], &[1]);
        let shape = vec![x.shape[0], Dim::Size(1)];
        let (norm, inputs) = (format!("{name}.norm"), [x, &axes]);
        let norm = self.node(("ReduceL2", &norm), &inputs, &[int("keepdims", 1)], x.element, shape);
        let length = format!("{name}.length");
        let length = self.with_number("Max", &norm, f32::MIN_POSITIVE, &length)?;
        self.both("Div", (x, &length), name)
    }

    /// The product of rows `[n, width]` and columns `[width, m]`.
    pub(super) fn product(&mut self, x: &Value, y: &Value, name: &str) -> Result<Value, Error> {
        if x.size(1)? != y.size(0)? {
            return Err(x.unfit(&format!("a product with `{}`, {:?}", y.name, y.shape)));
        }
        let shape = vec![x.shape[0], y.shape[1]];
        Ok(self.node(("MatMul", name), &[x, y], &[], x.element, shape))
    }

    /// The number of that rank in each row, the largest of which has rank 1: `[n]`.
    pub(super) fn ranked(&mut self, x: &Value, rank: i64, name: &str) -> Value {
        let count = self.integers(&format!("{name}.count"), &[1], &[rank]);
        let top = [format!("{name}.values"), format!("{name}.places")];
        let node = ("TopK", &*format!("{name}.top"));
        let outputs: Vec<_> = top.iter().map(String::as_str).collect();
        let mut outputs = self.node_with_outputs(node, &[x, &count], &[int("axis", 1)], &outputs);
        let values = Value {
            name: outputs.remove(0),
            element: x.element,
            shape: vec![x.shape[0], Dim::Size(rank)],
        };
        let place = self.integers(&format!("{name}.place"), &[], &[rank - 1]);
        let shape = x.shape[..1].to_vec();
        self.node(("Gather", name), &[&values, &place], &[int("axis", 1)], x.element, shape)
    }
}
