//! The outcome of a job when its trainer has ended: one pure function.

use std::time::Duration;

use crate::{
    domain::{
        job::{JobError, JobStatus},
        service::Comparison,
    },
    training::control::Command,
};

/// Maximum trainers that are started for a job.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// How a trainer ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TrainerExit {
    /// It created a model; how the one that it would replace does on the same images, if compared.
    Finished(Option<Comparison>),
    /// It reported an error.
    Failed(JobError),
    /// It was cancelled.
    Cancelled,
    /// It saved its state for another trainer.
    Suspended,
    /// It exited without reporting a result.
    Died(JobError),
    /// It continues, and the server shuts down: the next one finds it again.
    Detached,
}

/// The outcome of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transition {
    /// It has finished.
    Finish(JobStatus, Option<JobError>),
    /// It goes back into the queue with this number of attempts.
    Requeue(u32),
    /// Its trainer exited unexpectedly, and it goes back into the queue.
    Retry(JobError),
    /// It is still running.
    Keep,
}

/// The outcome of a job after this number of `attempts`, whose trainer ended with `ending`, after
/// the server's request `asked`.
pub(super) fn transition(
    exit: TrainerExit,
    attempts: u32,
    requested_exit: RequestedExit,
) -> Transition {
    match exit {
        TrainerExit::Finished(_) => Transition::Finish(JobStatus::Succeeded, None),
        TrainerExit::Failed(error) => Transition::Finish(JobStatus::Failed, Some(error)),
        TrainerExit::Cancelled => Transition::Finish(JobStatus::Cancelled, None),
        TrainerExit::Detached => Transition::Keep,
        TrainerExit::Suspended => Transition::Requeue(attempts.saturating_sub(1)),
        // It did not exit in time and was killed by us, so it ended as requested.
        TrainerExit::Died(_) if requested_exit == RequestedExit::Cancel => {
            Transition::Finish(JobStatus::Cancelled, None)
        }
        TrainerExit::Died(_) if requested_exit == RequestedExit::Suspend => {
            Transition::Requeue(attempts.saturating_sub(1))
        }
        TrainerExit::Died(error) if attempts < MAX_ATTEMPTS => Transition::Retry(error),
        TrainerExit::Died(error) => Transition::Finish(JobStatus::Interrupted, Some(error)),
    }
}

/// The end that the server requested of a trainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestedExit {
    /// None.
    None,
    /// To exit, and not to be resumed.
    Cancel,
    /// To exit, and be resumed by another.
    Suspend,
}

/// Records a command sent to a trainer.
pub(super) fn record_command(requested_exit: &mut RequestedExit, command: Command) {
    match command {
        Command::Cancel => *requested_exit = RequestedExit::Cancel,
        Command::Suspend => *requested_exit = RequestedExit::Suspend,
        Command::Stop => {}
    }
}

/// The state of a job could not be saved in time.
#[derive(Debug)]
pub(super) struct Unsaved;

/// Describes a process that was killed because it had sent nothing for this long.
pub(super) fn silence_error(silence: Duration) -> JobError {
    JobError {
        code: "trainer_killed".to_owned(),
        detail: format!(
            "the trainer sent nothing for {} s and was killed; it was stopped, or the machine was overloaded",
            silence.as_secs()
        ),
    }
}

/// Describes a job whose server crashed too often.
pub(super) fn server_crash_error() -> JobError {
    JobError {
        code: "server_killed".to_owned(),
        detail: format!(
            "the server crashed {MAX_ATTEMPTS} times while this job was running; if memory ran out, try a smaller batch_size"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> JobError {
        JobError { code: "x".to_owned(), detail: String::new() }
    }

    #[test]
    fn a_trainer_that_dies_is_replaced_twice_and_then_the_job_is_interrupted() {
        let died = |attempts| transition(TrainerExit::Died(error()), attempts, RequestedExit::None);
        assert_eq!(died(1), Transition::Retry(error()));
        assert_eq!(died(2), Transition::Retry(error()));
        assert_eq!(died(3), Transition::Finish(JobStatus::Interrupted, Some(error())));
    }

    #[test]
    fn a_trainer_that_had_to_be_killed_comes_to_the_end_it_was_asked_for() {
        let died = |requested_exit| transition(TrainerExit::Died(error()), 3, requested_exit);
        assert_eq!(died(RequestedExit::Cancel), Transition::Finish(JobStatus::Cancelled, None));
        assert_eq!(died(RequestedExit::Suspend), Transition::Requeue(2));
    }

    #[test]
    fn a_suspended_job_has_spent_no_attempt() {
        assert_eq!(
            transition(TrainerExit::Suspended, 1, RequestedExit::Suspend),
            Transition::Requeue(0)
        );
    }

    #[test]
    fn what_the_trainer_says_is_what_becomes_of_the_job() {
        let says = |exit| transition(exit, 1, RequestedExit::None);
        assert_eq!(
            says(TrainerExit::Finished(None)),
            Transition::Finish(JobStatus::Succeeded, None)
        );
        assert_eq!(says(TrainerExit::Cancelled), Transition::Finish(JobStatus::Cancelled, None));
        assert_eq!(
            says(TrainerExit::Failed(error())),
            Transition::Finish(JobStatus::Failed, Some(error()))
        );
    }
}
