//! Work in several steps that must not stop halfway when the client leaves.

use super::problem::Problem;

/// Runs `work` to its end, even if its request is dropped meanwhile.
///
/// # Errors
/// Those of `work`.
pub async fn run_to_completion<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(panicked) => Err(Problem::internal(&panicked)),
    }
}
