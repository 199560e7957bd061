//! How many threads a forward pass gets that has the processors to itself.
//!
//! On an idle machine, more threads are faster. Beside other work they are not: each of the network's
//! layers ends when the last thread does, and one that has lost its processor makes all others wait. So
//! the number follows the times of the passes while predictions are served.

use std::time::Duration;

/// Minimum speed-up for more threads, which cost more processor time in all.
const MIN_SPEEDUP: f64 = 1.15;

/// Weight of the newest time in the mean of a number of threads.
const WEIGHT: f64 = 0.5;

/// One pass of so many tries another number of threads: too few to change the 99th percentile of many.
const PASSES_PER_TRY: u32 = 256;

/// Before that, the passes of these numbers: the first times may be those of a machine that was busy starting.
const FIRST_TRIES: [u32; 3] = [4, 16, 64];

/// Numbers of threads, fewest first, with their mean times of a pass over one image.
#[derive(Debug, Clone)]
pub(super) struct ThreadChoice {
    candidates: Vec<Candidate>,
    passes: u32,
    tries: usize,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    threads: usize,
    seconds: f64,
}

impl ThreadChoice {
    /// A choice between these numbers of threads, fewest first, with a first time of each.
    pub(super) fn new(measured: impl IntoIterator<Item = (usize, Duration)>) -> Self {
        let candidate =
            |(threads, time): (usize, Duration)| Candidate { threads, seconds: time.as_secs_f64() };
        Self { candidates: measured.into_iter().map(candidate).collect(), passes: 0, tries: 0 }
    }

    /// The numbers of threads, fewest first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = usize> {
        self.candidates.iter().map(|it| it.threads)
    }

    /// The best number of threads by the times so far, at least 1.
    pub(super) fn best(&self) -> usize {
        let faster = |best: Candidate, other: &Candidate| {
            if other.seconds * MIN_SPEEDUP <= best.seconds { *other } else { best }
        };
        let (first, others) = (self.candidates.first(), self.candidates.iter().skip(1));
        first.map_or(1, |first| others.fold(*first, faster).threads)
    }

    /// The number of threads of the next pass: nearly always the best one, else another.
    pub(super) fn next(&mut self) -> usize {
        self.passes = self.passes.wrapping_add(1);
        let best = self.best();
        let early = FIRST_TRIES.contains(&self.passes);
        if !early && !self.passes.is_multiple_of(PASSES_PER_TRY) {
            return best;
        }
        let others = self.candidates.len().saturating_sub(1).max(1);
        let turn = self.tries % others;
        self.tries = self.tries.wrapping_add(1);
        self.candidates().filter(|&threads| threads != best).nth(turn).unwrap_or(best)
    }

    /// A pass over one image took this time on so many threads. Another number than the best, which is rarely
    /// tried, is believed at once if it was faster than its mean: if that was chance, the next pass tells.
    pub(super) fn record(&mut self, threads: usize, time: Duration) {
        let best = self.best();
        if let Some(candidate) = self.candidates.iter_mut().find(|it| it.threads == threads) {
            let newest = time.as_secs_f64();
            let believed = threads != best && newest < candidate.seconds;
            candidate.seconds += (newest - candidate.seconds) * if believed { 1.0 } else { WEIGHT };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The numbers of threads of so many passes, which take as long as `time` says.
    fn run(choice: &mut ThreadChoice, passes: u32, time: impl Fn(usize) -> Duration) -> Vec<usize> {
        (0..passes)
            .map(|_| {
                let threads = choice.next();
                choice.record(threads, time(threads));
                threads
            })
            .collect()
    }

    #[test]
    fn more_threads_must_be_clearly_faster() {
        let best = |times: [u64; 3]| {
            let measured = [1, 2, 4].into_iter().zip(times.map(ms));
            ThreadChoice::new(measured).best()
        };
        assert_eq!(best([100, 60, 40]), 4);
        assert_eq!(best([100, 60, 55]), 2);
        assert_eq!(best([100, 90, 88]), 1);
        assert_eq!(best([100, 300, 80]), 4);
        assert_eq!(ThreadChoice::new([]).best(), 1);
    }

    #[test]
    fn the_choice_follows_the_machine() {
        let mut choice = ThreadChoice::new([(1, ms(20)), (2, ms(12))]);
        let idle = |threads| if threads == 1 { ms(20) } else { ms(12) };
        let busy = |threads| if threads == 1 { ms(22) } else { ms(80) };
        let passes = run(&mut choice, 2 * PASSES_PER_TRY, idle);
        let tried: Vec<_> = (1..).zip(passes).filter(|it| it.1 == 1).map(|it| it.0).collect();
        assert_eq!(tried, [4, 16, 64, 256, 512]);
        // At once: the passes of the present choice are all timed.
        let passes = run(&mut choice, PASSES_PER_TRY, busy);
        assert!(passes.iter().filter(|&&threads| threads == 2).count() <= 3);
        // With the next try.
        run(&mut choice, PASSES_PER_TRY, idle);
        assert_eq!(choice.best(), 2);
    }

    #[test]
    fn all_others_are_tried_in_turn() {
        let mut choice = ThreadChoice::new([1, 2, 4, 8].map(|threads| (threads, ms(10))));
        let mut tried = run(&mut choice, 3 * PASSES_PER_TRY, |_| ms(10));
        tried.retain(|&threads| threads != 1);
        assert_eq!(tried, [2, 4, 8, 2, 4, 8]);
    }

    #[test]
    fn a_first_time_on_a_busy_machine_is_soon_corrected() {
        let mut choice = ThreadChoice::new([(1, ms(14)), (2, ms(17))]);
        let passes = run(&mut choice, 64, |threads| if threads == 1 { ms(14) } else { ms(9) });
        assert!(passes.iter().skip(3).filter(|&&threads| threads == 2).count() > 57);
    }

    #[test]
    fn a_single_number_is_always_chosen() {
        let mut choice = ThreadChoice::new([(2, ms(10))]);
        assert_eq!(run(&mut choice, PASSES_PER_TRY, |_| ms(10)), [2; PASSES_PER_TRY as usize]);
    }
}
