//! Who goes first when there are fewer processors than there is work.

/// Steps of nice(2) that long work stands behind others: it gets a third of the time of a process that competes with it.
const BEHIND: i32 = 5;

/// Lets other threads of the machine go before the calling one and those that it will start, which inherit that (sched(7)).
///
/// For threads of our own only: without privileges there is no way back.
pub(crate) fn stand_behind() {
    if let Err(e) = rustix::process::nice(BEHIND) {
        tracing::debug!("working with the usual priority: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn only_the_thread_and_its_children_stand_behind() {
        let before = nice();
        let (own, child) = std::thread::spawn(|| {
            stand_behind();
            (nice(), std::thread::spawn(nice).join().unwrap())
        })
        .join()
        .unwrap();
        let behind = (before + BEHIND).min(19);
        assert_eq!((nice(), own, child), (before, behind, behind));
    }
}
