//! Work of several steps that must not stop halfway because the client has left.

use super::problem::Problem;

/// Does `work` to its end, also where the request that asked for it is dropped meanwhile.
///
/// # Errors
/// What `work` says.
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
