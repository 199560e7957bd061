//! L-BFGS (Liu and Nocedal, 1989; Nocedal and Wright, 2006, algorithm 7.5) for smooth, strictly
//! convex functions of one vector.

use std::collections::VecDeque;

use tch::Tensor;

/// Pairs of steps and changes of the gradient that are kept.
const HISTORY: usize = 10;
/// Iterations, far more than a regularised logistic regression needs.
const MAX_ITERATIONS: usize = 200;
/// Norm of the gradient at which the minimum is reached, for a function of order 1.
const TOLERANCE: f64 = 1e-6;
/// Fraction of the linear decrease that a step must achieve (Armijo).
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// Halvings of a step before it is given up as lost in rounding.
const MAX_HALVINGS: usize = 20;

/// The vector, fp64, that minimises a function from `start` on; `evaluate` gives its value and its
/// gradient, fp64. Deterministic.
pub fn minimise(start: Tensor, evaluate: impl Fn(&Tensor) -> (f64, Tensor)) -> Tensor {
    let mut x = start;
    let (mut value, mut gradient) = evaluate(&x);
    let mut history: VecDeque<(Tensor, Tensor, f64)> = VecDeque::new();
    for _ in 0..MAX_ITERATIONS {
        if norm(&gradient) <= TOLERANCE {
            break;
        }
        let direction = direction(&gradient, &history);
        let slope = dot(&gradient, &direction);
        // The first step has no curvature to go by.
        let mut length = if history.is_empty() { norm(&gradient).recip().min(1.0) } else { 1.0 };
        let step = (0..MAX_HALVINGS).find_map(|_| {
            let next = &x + &direction * length;
            let (next_value, next_gradient) = evaluate(&next);
            let enough = value + SUFFICIENT_DECREASE * length * slope;
            length *= 0.5;
            (next_value <= enough).then_some((next, next_value, next_gradient))
        });
        let Some((next, next_value, next_gradient)) = step else { break };
        let (moved, changed) = (&next - &x, &next_gradient - &gradient);
        let curvature = dot(&moved, &changed);
        if curvature > 0.0 {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back((moved, changed, curvature));
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// The direction of descent: the gradient times the approximate inverse of the Hessian, negated.
fn direction(gradient: &Tensor, history: &VecDeque<(Tensor, Tensor, f64)>) -> Tensor {
    let mut direction = -gradient;
    let mut factors = Vec::with_capacity(history.len());
    for (moved, changed, curvature) in history.iter().rev() {
        let factor = dot(moved, &direction) / curvature;
        direction -= changed * factor;
        factors.push(factor);
    }
    if let Some((_, changed, curvature)) = history.back() {
        direction *= *curvature / dot(changed, changed);
    }
    for ((moved, changed, curvature), factor) in history.iter().zip(factors.into_iter().rev()) {
        let correction = factor - dot(changed, &direction) / curvature;
        direction += moved * correction;
    }
    direction
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    a.dot(b).double_value(&[])
}

fn norm(a: &Tensor) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_an_ill_conditioned_quadratic_is_found() {
        let scales = Tensor::from_slice(&[1.0, 10.0, 100.0, 0.1]);
        let target = Tensor::from_slice(&[3.0, -2.0, 0.5, 7.0]);
        let evaluate = |x: &Tensor| {
            let gradient = &scales * (x - &target);
            (0.5 * dot(&gradient, &(x - &target)), gradient)
        };
        let found = minimise(target.zeros_like(), evaluate);
        assert!(norm(&(found - &target)) < 1e-4);
    }

    #[test]
    fn where_it_begins_at_the_minimum_it_stays() {
        let found = minimise(Tensor::from_slice(&[0.0, 0.0]), |x| (dot(x, x), x * 2.0));
        assert_eq!(norm(&found), 0.0);
    }
}
