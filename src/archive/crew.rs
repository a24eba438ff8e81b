//! Threads that share a job which divides while it is done.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::pool::processors;
use crate::sys::threads::spawn_scoped;

/// More threads only wait for the file system's own locks.
const MAX_THREADS: usize = 4;

/// Parts of a job, and who waits for one.
pub(super) struct Crew<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// As [`State::hungry`] says, to be asked without the lock.
    hungry: AtomicUsize,
}

struct State<T> {
    parts: Vec<T>,
    working: usize,
    waiting: usize,
}

impl<T> State<T> {
    /// Threads that wait, less the parts that wait for them.
    fn hungry(&self) -> usize {
        self.waiting.saturating_sub(self.parts.len())
    }
}

/// Counts a part as done, also when the thread panics in it.
struct AtWork<'a, T>(&'a Crew<T>);

impl<T> Drop for AtWork<'_, T> {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.changed.notify_all();
    }
}

impl<T: Send> Crew<T> {
    /// Does `first` and all that comes of it, and returns what `work` returned for each part, in no order.
    ///
    /// # Errors
    /// When a thread panicked.
    pub(super) fn run<R: Send>(
        name: &str,
        first: T,
        work: impl Fn(T, &Self) -> R + Sync,
    ) -> io::Result<Vec<R>> {
        Self::run_on(processors().min(MAX_THREADS), name, first, work)
    }

    fn run_on<R: Send>(
        threads: usize,
        name: &str,
        first: T,
        work: impl Fn(T, &Self) -> R + Sync,
    ) -> io::Result<Vec<R>> {
        let state = State { parts: vec![first], working: 0, waiting: 0 };
        let crew =
            Self { state: Mutex::new(state), changed: Condvar::new(), hungry: AtomicUsize::new(0) };
        std::thread::scope(|scope| {
            let help = || crew.help(&work);
            let threads: Vec<_> = (1..threads)
                // Without it there is one thread less.
                .filter_map(|_| spawn_scoped(scope, name, help).ok())
                .collect();
            let mut done = help();
            for thread in threads {
                done.extend(thread.join().map_err(|_| io::Error::other("a thread panicked"))?);
            }
            Ok(done)
        })
    }

    /// Whether a thread has nothing to do; it costs next to nothing to ask.
    pub(super) fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed) > 0
    }

    /// Leaves a part to whoever comes first.
    pub(super) fn give(&self, part: T) {
        let mut state = self.lock();
        state.parts.push(part);
        self.tell(&state);
        drop(state);
        self.changed.notify_one();
    }

    fn help<R>(&self, work: &impl Fn(T, &Self) -> R) -> Vec<R> {
        let mut done = Vec::new();
        let mut state = self.lock();
        loop {
            if let Some(part) = state.parts.pop() {
                state.working += 1;
                self.tell(&state);
                drop(state);
                let at_work = AtWork(self);
                done.push(work(part, self));
                drop(at_work);
                state = self.lock();
                continue;
            }
            if state.working == 0 {
                return done;
            }
            state.waiting += 1;
            self.tell(&state);
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn tell(&self, state: &State<T>) {
        self.hungry.store(state.hungry(), Ordering::Relaxed);
    }
}

impl<T> Crew<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_divides_is_done_whole() {
        for start in [0, 1, 14] {
            let sums = Crew::run("orlop-compare", start, |n: u32, crew| {
                // Two halves, as long as there is one to give the other to.
                let mut left = vec![n];
                let mut leaves = 0u64;
                while let Some(n) = left.pop() {
                    if n == 0 {
                        leaves += 1;
                        continue;
                    }
                    left.push(n - 1);
                    if crew.is_hungry() { crew.give(n - 1) } else { left.push(n - 1) }
                }
                leaves
            });
            assert_eq!(sums.unwrap().iter().sum::<u64>(), 1 << start);
        }
    }

    #[test]
    fn every_thread_that_waits_is_given_a_part() {
        use std::time::{Duration, Instant};
        const THREADS: usize = 4;
        let begun = AtomicUsize::new(0);
        let until = |what: &dyn Fn() -> bool| {
            let start = Instant::now();
            while !what() {
                assert!(
                    start.elapsed() < Duration::from_secs(30),
                    "a thread waits, and nobody sees it"
                );
                std::thread::yield_now();
            }
        };
        let done = Crew::run_on(THREADS, "orlop-compare", true, |divides, crew| {
            if divides {
                // All the others wait before the first of them gets something.
                until(&|| crew.lock().waiting == THREADS - 1);
                for given in 0..THREADS - 1 {
                    until(&|| crew.is_hungry());
                    crew.give(false);
                    until(&|| begun.load(Ordering::SeqCst) > given);
                }
                assert!(!crew.is_hungry());
            }
            begun.fetch_add(1, Ordering::SeqCst);
            // None is done before it was seen that none waits.
            until(&|| begun.load(Ordering::SeqCst) == THREADS);
        });
        assert_eq!(done.unwrap().len(), THREADS);
    }

    #[test]
    fn a_panic_ends_in_an_error_and_keeps_nobody_waiting() {
        let outcome = std::panic::catch_unwind(|| {
            Crew::run("orlop-compare", 20u32, |n, crew| {
                crew.give(0);
                assert!(n > 0, "as a test");
            })
        });
        // By the thread that called, or by another.
        assert!(outcome.is_err() || outcome.is_ok_and(|done| done.is_err()));
    }
}
