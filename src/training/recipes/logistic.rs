//! The solution of a logistic regression, binary or of several classes.

use tch::{Kind, Tensor};

use crate::training::{lbfgs, loss::Loss};

/// Solves the regression on `features`, `[n, width]`, to its minimum under a regularisation of
/// `strength`, from `weight`, `[outputs, width]`, and `bias`, `[outputs]`, on, which become the solution.
pub(crate) fn minimise(
    loss: &Loss,
    features: &Tensor,
    targets: &Tensor,
    strength: f64,
    weight: &mut Tensor,
    bias: &mut Tensor,
) {
    let image_weights = loss.weights(targets);
    let (outputs, width) = (weight.size()[0], weight.size()[1]);
    let count = features.size()[0] as f64;
    let weight_decay = strength / count;
    // The biases come last and are not regularised.
    let objective = |parameters: &Tensor| {
        let weights = parameters.narrow(0, 0, outputs * width);
        let bias = parameters.narrow(0, outputs * width, outputs).to_kind(Kind::Float);
        let matrix = weights.to_kind(Kind::Float).reshape([outputs, width]);
        let logits = features.linear(&matrix, Some(&bias));
        let mut residuals = loss.residuals(&logits, targets);
        let mut losses = loss.of_images(&logits, targets);
        if let Some(weights) = &image_weights {
            residuals *= weights.unsqueeze(1);
            losses *= weights;
        }
        let of_bias = residuals.sum_dim_intlist([0].as_slice(), false, Kind::Float);
        let gradient = Tensor::cat(&[residuals.tr().matmul(features).flatten(0, -1), of_bias], 0);
        let gradient = gradient.to_kind(Kind::Double) / count;
        let _ = gradient.narrow(0, 0, outputs * width).g_add_(&(&weights * weight_decay));
        let penalty = weights.dot(&weights).double_value(&[]);
        let mean = losses.sum(Kind::Double).double_value(&[]) / count;
        (mean + 0.5 * weight_decay * penalty, gradient)
    };
    let start = Tensor::cat(&[weight.reshape([-1]), bias.shallow_clone()], 0);
    let solution = lbfgs::minimise(start.to_kind(Kind::Double), objective);
    weight.copy_(&solution.narrow(0, 0, outputs * width).reshape([outputs, width]));
    bias.copy_(&solution.narrow(0, outputs * width, outputs));
}
