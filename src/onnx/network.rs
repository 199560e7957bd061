//! The networks of [`crate::architectures`] as nodes, layer by layer, and their inputs and outputs.

use super::{
    Error,
    graph::{Dim, Element, Graph, Value},
    operators::Window,
};
use crate::{
    architectures::{cnn::CONVOLUTIONS, convolution::same_padding},
    domain::{
        base::{Base, Layers, Pooling, Stage},
        model::Architecture,
        objective::Objective,
        preprocessing::{Normalization, Preprocessing, Resize},
    },
    neighbours,
};

/// What a network gives for images.
pub(super) struct Outputs {
    /// Logits, `[n, outputs]`.
    pub(super) logits: Value,
    /// What images are compared by, `[n, width]`; `None` of the small network.
    pub(super) embeddings: Option<Value>,
}

impl Graph {
    /// A photo `[height, width, 3]` of any size, resized: `[1, height, width, 3]`.
    pub(super) fn resized(&mut self, x: &Value, to: &Preprocessing) -> Result<Value, Error> {
        let Preprocessing { width, height, resize: Resize::BilinearAntialiased, .. } = *to;
        let planes = self.transpose(x, &[2, 0, 1], "image.planes")?;
        let batch = self.as_batch(&planes, "image.batch");
        let resized = self.resize(&batch, height.into(), width.into(), "resized.planes")?;
        self.transpose(&resized, &[0, 2, 3, 1], "resized")
    }

    /// `architectures::normalise`: pixels `[n, height, width, 3]` as `[n, 3, height, width]`.
    pub(super) fn normalised(&mut self, x: &Value, how: Normalization) -> Result<Value, Error> {
        let mut x = self.cast(x, Element::Float, "pixels.float");
        let scaled = match how {
            Normalization::UnitRange => self.with_number("Mul", &x, 1.0 / 255.0, "normalised")?,
            Normalization::Centred => {
                x = self.with_number("Sub", &x, 127.0, "centred")?;
                self.with_number("Mul", &x, 1.0 / 128.0, "normalised")?
            }
            Normalization::Caffe => {
                x = self.gather(&x, 3, &[2, 1, 0], "bgr");
                let mean = self.floats("mean", &[3], &[103.939, 116.779, 123.68]);
                self.both("Sub", (&x, &mean), "normalised")?
            }
            Normalization::Torch => {
                let mean = [0.485, 0.456, 0.406].map(|mean| (mean * 255.0) as f32);
                let scale = [0.229, 0.224, 0.225].map(|deviation: f64| deviation * 255.0);
                let mean = self.floats("mean", &[3], &mean);
                let scale = self.floats("scale", &[3], &scale.map(|it| it.recip() as f32));
                x = self.both("Sub", (&x, &mean), "centred")?;
                self.both("Mul", (&x, &scale), "normalised")?
            }
        };
        self.transpose(&scaled, &[0, 3, 1, 2], "planes")
    }

    /// The network of that architecture over normalised images `[n, 3, height, width]`.
    pub(super) fn network(
        &mut self,
        images: &Value,
        architecture: Architecture,
        objective: Objective,
    ) -> Result<Outputs, Error> {
        let outputs = objective.outputs() as i64;
        let maps = self.feature_maps(images, architecture)?;
        match architecture {
            Architecture::Cnn => {
                let features = self.flatten(&maps, "features")?;
                let logits = self.dense(&features, "dense", outputs)?;
                Ok(Outputs { logits, embeddings: None })
            }
            Architecture::Base(base) => self.classifier(&maps, base, outputs),
        }
    }

    /// [`crate::architectures::Network::feature_maps`] of normalised images `[n, 3, height, width]`.
    pub(super) fn feature_maps(
        &mut self,
        images: &Value,
        architecture: Architecture,
    ) -> Result<Value, Error> {
        match architecture {
            Architecture::Cnn => self.small_network(images),
            Architecture::Base(Base { layers: Layers::Vgg(stages), .. }) => {
                self.vgg(images, stages)
            }
            Architecture::Base(Base {
                layers: Layers::EfficientnetLite { stem, stages, last },
                ..
            }) => self.efficientnet(images, (*stem, stages, *last)),
        }
    }

    fn small_network(&mut self, images: &Value) -> Result<Value, Error> {
        let mut x = images.clone();
        let window = Window { stride: 1, padding: [0, 0], groups: 1 };
        for (number, (filters, pooled)) in (1..).zip(CONVOLUTIONS) {
            let layer = format!("conv{number}");
            let kernel = [filters, x.size(1)?, 3, 3];
            x = self.convolution(&x, &layer, kernel, window)?;
            x = self.each("Relu", &x, &format!("{layer}.relu"));
            if pooled {
                x = self.max_pool(&x, &format!("pool{number}"))?;
            }
        }
        Ok(x)
    }

    fn classifier(&mut self, maps: &Value, base: &Base, outputs: i64) -> Result<Outputs, Error> {
        let (features, embeddings) = match base.pooling {
            Pooling::MaximumAndFlatten => {
                let pooled = self.max_pool(maps, "pooled")?;
                let embeddings = self.mean_of_channels(&pooled, "embeddings");
                (self.flatten(&pooled, "features")?, embeddings)
            }
            Pooling::Average => {
                let features = self.mean_of_channels(maps, "features");
                (features.clone(), features)
            }
        };
        let hidden = match base.head.hidden {
            Some(units) => self.dense(&features, "hidden", units)?,
            None => features,
        };
        let logits = self.dense(&hidden, "output", outputs)?;
        Ok(Outputs { logits, embeddings: Some(embeddings) })
    }

    fn vgg(&mut self, images: &Value, stages: &[(usize, i64)]) -> Result<Value, Error> {
        let mut x = images.clone();
        let window = Window { stride: 1, padding: [1, 1], groups: 1 };
        for (number, &(convolutions, filters)) in (1..).zip(stages) {
            if number > 1 {
                x = self.max_pool(&x, &format!("block{}_pool", number - 1))?;
            }
            for place in 1..=convolutions {
                let layer = format!("block{number}_conv{place}");
                let kernel = [filters, x.size(1)?, 3, 3];
                x = self.convolution(&x, &layer, kernel, window)?;
                x = self.each("Relu", &x, &format!("{layer}.relu"));
            }
        }
        Ok(x)
    }

    fn efficientnet(
        &mut self,
        images: &Value,
        (stem, stages, last): (i64, &[Stage], i64),
    ) -> Result<Value, Error> {
        let limits = [0.0, 6.0].map(|limit| self.floats(&format!("relu{limit}"), &[], &[limit]));
        let mut x = self.rectified(images, "stem", (stem, 3), (2, 1), &limits)?;
        for (number, stage) in (1..).zip(stages) {
            for block in 1..=stage.blocks {
                let stride = if block == 1 { stage.stride } else { 1 };
                let name = format!("block{number}_{block}");
                x = self.inverted_residual(&x, &name, stage, stride, &limits)?;
            }
        }
        self.rectified(&x, "last", (last, 1), (1, 1), &limits)
    }

    fn inverted_residual(
        &mut self,
        x: &Value,
        name: &str,
        stage: &Stage,
        stride: i64,
        limits: &[Value; 2],
    ) -> Result<Value, Error> {
        let Stage { kernel, expansion, channels: outputs, .. } = *stage;
        let inputs = x.size(1)?;
        let hidden = inputs * expansion;
        let expanded = match expansion {
            1 => x.clone(),
            _ => self.rectified(x, &format!("{name}.expand"), (hidden, 1), (1, 1), limits)?,
        };
        let depthwise = format!("{name}.depthwise");
        let maps =
            self.rectified(&expanded, &depthwise, (hidden, kernel), (stride, hidden), limits)?;
        let maps = self.same_padded(&maps, &format!("{name}.project"), (outputs, 1), (1, 1))?;
        if stride == 1 && inputs == outputs {
            return self.both("Add", (&maps, x), &format!("{name}.sum"));
        }
        Ok(maps)
    }

    /// A convolution and a ReLU6.
    fn rectified(
        &mut self,
        x: &Value,
        layer: &str,
        kernel: (i64, i64),
        window: (i64, i64),
        limits: &[Value; 2],
    ) -> Result<Value, Error> {
        let maps = self.same_padded(x, layer, kernel, window)?;
        Ok(self.clip(&maps, limits, &format!("{layer}.relu6")))
    }

    /// A convolution with TensorFlow's *same* padding, of so many channels and pixels across, with
    /// that stride and those groups.
    fn same_padded(
        &mut self,
        x: &Value,
        layer: &str,
        (channels, side): (i64, i64),
        (stride, groups): (i64, i64),
    ) -> Result<Value, Error> {
        let padding = same_padding(x.size(2)?, side, stride);
        if padding != same_padding(x.size(3)?, side, stride) {
            return Err(x.unfit(&format!("{layer} pads it differently down and across")));
        }
        let kernel = [channels, x.size(1)? / groups, side, side];
        self.convolution(x, layer, kernel, Window { stride, padding, groups })
    }

    /// The probability of each class, `[n, classes]`, and the predicted class, `[n]`.
    pub(super) fn prediction(
        &mut self,
        logits: &Value,
        objective: Objective,
        scale: f64,
    ) -> Result<(Value, Value), Error> {
        let by_class = match objective {
            // The first class has the negated logit of the second.
            Objective::Sigmoid => {
                let first = self.each("Neg", logits, "logits.first");
                self.beside(&first, logits, "logits.of_classes")?
            }
            Objective::Softmax(_) => logits.clone(),
        };
        // As `Logits::predicted` decides between equal ones.
        let label = self.largest(&by_class, objective == Objective::Sigmoid, "label");
        let scaled = self.with_number("Mul", &by_class, scale as f32, "logits.scaled")?;
        let probabilities = match objective {
            Objective::Sigmoid => self.each("Sigmoid", &scaled, "probabilities"),
            Objective::Softmax(_) => self.softmax(&scaled, "probabilities"),
        };
        Ok((probabilities, label))
    }

    /// `neighbours::Neighbours::distances`, `[n]`, for embeddings `[n, width]`; `None` if the model
    /// file has no training images to compare with.
    pub(super) fn distance(&mut self, embeddings: &Value) -> Result<Option<Value>, Error> {
        let Some(shape) = self.weights.shape(neighbours::NAME) else { return Ok(None) };
        let [images, _] = *shape else {
            return Err(embeddings.unfit(&format!("the neighbours are {shape:?}")));
        };
        let shape = [images, embeddings.size(1)?];
        let quantised = self.weight_int8(neighbours::NAME, &shape)?;
        let others = self.cast(&quantised, Element::Float, "neighbours.float");
        let others = self.unit_rows(&others, "neighbours.unit")?;
        let others = self.transpose(&others, &[1, 0], "neighbours.columns")?;
        let own = self.unit_rows(embeddings, "embeddings.unit")?;
        let similarities = self.product(&own, &others, "similarities")?;
        let nearest = self.ranked(&similarities, neighbours::RANK.min(images), "similarity");
        let negated = self.each("Neg", &nearest, "similarity.negated");
        self.with_number("Add", &negated, 1.0, "distance").map(Some)
    }

    /// The input of a photo of any size.
    pub(super) fn photo(&mut self) -> Value {
        let shape = [Dim::Any("height"), Dim::Any("width"), Dim::Size(3)];
        self.input("image", Element::Uint8, &shape, "a photo, upright, RGB")
    }

    /// The input of photos that are resized already.
    pub(super) fn pixels(&mut self, images: Dim, size: &Preprocessing) -> Value {
        let (height, width) = (Dim::Size(size.height.into()), Dim::Size(size.width.into()));
        let shape = [images, height, width, Dim::Size(3)];
        self.input("pixels", Element::Uint8, &shape, "photos, upright and resized, RGB")
    }
}
