//! Threads that do jobs, and give the results back in the order of the jobs.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::channel::Stopped;
use crate::sys::threads::spawn;

/// How many processors this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A job, and where its result goes.
type Order<J, R> = (J, SyncSender<R>);

/// No thread outlives it: dropped, it waits for what was submitted.
pub(super) struct Pool<J, R> {
    jobs: Option<Sender<Order<J, R>>>,
    /// What was submitted and not collected, the oldest first.
    results: VecDeque<Receiver<R>>,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    pub(super) fn start(
        name: &str,
        threads: usize,
        work: impl Fn(J) -> R + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut pool = Self {
            jobs: Some(jobs),
            results: VecDeque::new(),
            threads: Vec::with_capacity(threads),
        };
        for _ in 0..threads {
            let (queue, work) = (Arc::clone(&queue), work.clone());
            let run = move || run(&queue, work);
            pool.threads.push(spawn(name, run)?);
        }
        Ok(pool)
    }

    /// How many results are to be collected.
    pub(super) fn pending(&self) -> usize {
        self.results.len()
    }

    /// Hands a job over. The caller bounds how many are on their way.
    pub(super) fn submit(&mut self, job: J) -> Result<(), Stopped> {
        let (done, result) = sync_channel(1);
        self.jobs.as_ref().and_then(|jobs| jobs.send((job, done)).ok()).ok_or(Stopped)?;
        self.results.push_back(result);
        Ok(())
    }

    /// Waits for the oldest job; `None` where there is none.
    pub(super) fn collect(&mut self) -> Option<Result<R, Stopped>> {
        self.results.pop_front().map(|result| result.recv().map_err(|_| Stopped))
    }
}

impl<J, R> Drop for Pool<J, R> {
    fn drop(&mut self) {
        // No more jobs: that is what ends the threads.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run<J, R>(queue: &Mutex<Receiver<Order<J, R>>>, work: impl Fn(J) -> R) {
    loop {
        let order = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((job, done)) = order else { return };
        // Nobody waits for the result any more if the other side has failed.
        let _ = done.send(work(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let mut pool = Pool::start("test", 4, |n: u64| {
            std::thread::sleep(std::time::Duration::from_millis(n % 5));
            n * n
        })
        .unwrap();
        for n in 0..50 {
            pool.submit(n).unwrap();
        }
        for n in 0..50 {
            assert_eq!(pool.collect().unwrap().unwrap(), n * n);
        }
        assert!(pool.collect().is_none());
    }

    #[test]
    fn a_thread_that_panics_keeps_nobody_waiting() {
        let mut pool = Pool::start("test", 1, |n: u32| assert_ne!(n, 1)).unwrap();
        // The thread may have ended before the last of these.
        let submitted = (0..3).filter(|n| pool.submit(*n).is_ok()).count();
        assert!(submitted >= 2 && pool.collect().unwrap().is_ok());
        for _ in 1..submitted {
            assert!(pool.collect().unwrap().is_err());
        }
        assert!(pool.submit(3).is_err());
    }
}
