//! What every runtime demands of a graph: each value is defined once, before it is used.

use std::collections::HashSet;

use super::{Error, graph::Graph};

/// Checks a graph.
///
/// # Errors
/// Names the value that is wrong.
pub(super) fn check(graph: &Graph) -> Result<(), Error> {
    let wrong = |name: &str, what: &str| Err(Error::Network(format!("`{name}` is {what}")));
    let mut defined = HashSet::new();
    let given = graph.initializers.iter().map(|it| &it.tensor.name);
    for name in graph.proto.input.iter().map(|it| &it.name).chain(given) {
        if !defined.insert(name) {
            return wrong(name, "defined twice");
        }
    }
    let mut used = HashSet::new();
    for node in &graph.proto.node {
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            if !defined.contains(name) {
                return wrong(name, "used before it is defined");
            }
            used.insert(name);
        }
        for name in &node.output {
            if !defined.insert(name) {
                return wrong(name, "defined twice");
            }
        }
    }
    for output in &graph.proto.output {
        if !defined.contains(&output.name) {
            return wrong(&output.name, "an output that no node has");
        }
    }
    match graph.initializers.iter().find(|it| !used.contains(&it.tensor.name)) {
        Some(unused) => wrong(&unused.tensor.name, "never used"),
        None => Ok(()),
    }
}
