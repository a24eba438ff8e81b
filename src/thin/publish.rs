//! The way of a packed layer into a repository: sent, unless that has been done, and waited for (CVM-21, CVM-22).
//!
//! Whoever publishes is asked first. An attempt that failed is so gone on from, by the next one, where it had come to: a layer has the
//! name of its content, and one that is published, or on its way, is not sent a second time.

use std::time::{Duration, Instant};

use super::document::ThinLayer;
use super::upload::{LayerUpload, PackedLayer};
use super::url::CvmfsUrl;
use crate::progress::{self, ProgressItem};
use crate::{Error, ErrorKind, Result};

/// The folder of a repository that published layers are in.
const FOLDER: &str = "layers";

/// The longest pause between two questions, where the pause grows.
const LONGEST: Duration = Duration::from_secs(15);

/// How long a cancelled operation may sleep on.
const NAP: Duration = Duration::from_millis(200);

/// What has become of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// It is on its way.
    Publishing,
    /// The repository has it.
    Done,
    /// Nobody there has heard of it.
    Unknown,
    /// There is no answer now, for this reason. There may be one later.
    NoAnswer(String),
}

/// How long is waited for publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Between two questions. It doubles, up to 15 seconds, as long as they are not answered.
    pub pause: Duration,
    /// In all.
    pub limit: Duration,
    /// For an answer, where there is none, and for who publishes to learn of what was sent.
    pub outage: Duration,
}

impl Default for Patience {
    /// A question each second, for an hour at most, and for two minutes without an answer.
    fn default() -> Self {
        Self {
            pause: Duration::from_secs(1),
            limit: Duration::from_secs(3600),
            outage: Duration::from_secs(120),
        }
    }
}

/// Has a layer published by `upload` and waits until the repository has it. It is sent unless who publishes knows it already, or
/// does not answer and [`LayerUpload::holds`] finds it. Nothing here is left of it if that fails; what is in the bucket by then has the
/// name of its content, and the next attempt goes on from there. In the end `item` has been told of all bytes, also where none was sent.
///
/// # Errors
/// Those of `upload`; [`ErrorKind::Io`] if publishing fails or takes longer than `patience` has; [`ErrorKind::Cancelled`].
pub fn publish(
    layer: &PackedLayer,
    upload: &dyn LayerUpload,
    patience: &Patience,
    item: &dyn ProgressItem,
) -> Result<ThinLayer> {
    let (digest, repository) = (layer.digest(), upload.repository());
    let action = || format!("publishing the layer {digest} in {repository}");
    let failed = |why: String| {
        Error::new(ErrorKind::Io, action())
            .detail(why)
            .hint("what has been sent is not lost: trying again goes on from it")
    };
    let url = CvmfsUrl::new(repository.clone(), format!("{FOLDER}/{}", digest.hex()))?;
    let mut wait = Wait::new(patience);
    let mut is_sent = false;
    loop {
        progress::check(item)?;
        let answer = upload.status(digest).map_err(|e| e.context(action()))?;
        let why = match answer {
            Publication::Done => break,
            Publication::Publishing => {
                wait.answered();
                None
            }
            Publication::Unknown if is_sent => {
                Some("it was sent, and who publishes knows nothing of it".to_owned())
            }
            Publication::Unknown => {
                upload.put(layer, item)?;
                is_sent = true;
                wait = Wait::new(patience);
                continue;
            }
            Publication::NoAnswer(why) => {
                // Who publishes may be away while layers are still taken. Later on, he says whether it has to be sent again.
                if wait.has_just_begun() && !is_sent && !upload.holds(layer) {
                    upload.put(layer, item)?;
                    is_sent = true;
                    wait = Wait::new(patience);
                }
                Some(why)
            }
        };
        if let Some(why) = &why {
            tracing::debug!(layer = %digest, why, "asked again");
        }
        wait.rest(why, item).map_err(failed)?;
    }
    // Whoever watches sees all of it done, whenever it was sent.
    if !is_sent {
        item.advance(layer.size());
    }
    Ok(ThinLayer { digest: digest.clone(), url: Some(url) })
}

/// The time since a layer was sent.
struct Wait<'a> {
    patience: &'a Patience,
    begun: Instant,
    /// Since when there has been no answer.
    silent: Option<Instant>,
    pause: Duration,
    questions: u32,
}

impl<'a> Wait<'a> {
    fn new(patience: &'a Patience) -> Self {
        let (begun, pause) = (Instant::now(), patience.pause);
        Self { patience, begun, silent: None, pause, questions: 0 }
    }

    fn has_just_begun(&self) -> bool {
        self.questions == 0
    }

    fn answered(&mut self) {
        self.silent = None;
        self.pause = self.patience.pause;
    }

    /// Sleeps until the next question is due; `why` is the reason where there was no answer to the last one. Fails when it should not be
    /// waited any longer. Whether all is called off is for the caller to ask.
    fn rest(&mut self, why: Option<String>, item: &dyn ProgressItem) -> Result<(), String> {
        self.questions += 1;
        if self.begun.elapsed() >= self.patience.limit {
            let limit = self.patience.limit.as_secs();
            let why = why.map(|why| format!("; at last: {why}")).unwrap_or_default();
            return Err(format!("it is not published after {limit} s{why}"));
        }
        let pause = self.pause;
        if let Some(why) = why {
            if self.silent.get_or_insert_with(Instant::now).elapsed() >= self.patience.outage {
                let outage = self.patience.outage.as_secs();
                return Err(format!("{why} (asked for {outage} s)"));
            }
            self.pause = LONGEST.max(self.patience.pause).min(pause.saturating_mul(2));
        }
        let since = Instant::now();
        while !item.is_cancelled() && since.elapsed() < pause {
            std::thread::sleep(NAP.min(pause.saturating_sub(since.elapsed())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Mutex;

    use super::Publication::{Done, Publishing, Unknown};
    use super::*;
    use crate::Digest;
    use crate::progress::Silent;
    use crate::thin::Repository;

    /// The pauses double a few times in it.
    const NOW: Patience = Patience {
        pause: Duration::from_millis(1),
        limit: Duration::from_secs(60),
        outage: Duration::from_millis(300),
    };

    /// Takes everything, and answers as it was told, the last answer for ever.
    struct Taker {
        repository: Repository,
        taken: Mutex<Vec<Vec<u8>>>,
        answers: Mutex<Vec<Publication>>,
        asked: Mutex<Vec<Instant>>,
        holds: bool,
    }

    impl Taker {
        fn new(answers: &[Publication]) -> Self {
            Self {
                repository: Repository::new("r.example").unwrap(),
                taken: Mutex::default(),
                answers: Mutex::new(answers.iter().rev().cloned().collect()),
                asked: Mutex::default(),
                holds: false,
            }
        }

        /// What becomes of a layer, and how often it is sent.
        fn publish(&self) -> (Result<ThinLayer>, usize) {
            let outcome = publish(&layer(), self, &NOW, &Silent);
            (outcome, self.taken.lock().unwrap().len())
        }
    }

    impl LayerUpload for Taker {
        fn repository(&self) -> &Repository {
            &self.repository
        }
        fn holds(&self, _layer: &PackedLayer) -> bool {
            self.holds
        }
        fn put(&self, layer: &PackedLayer, item: &dyn ProgressItem) -> Result<()> {
            let mut bytes = Vec::new();
            let failed = |e| Error::new(ErrorKind::Io, "taking").caused_by(e);
            layer.content(item).read_to_end(&mut bytes).map_err(failed)?;
            self.taken.lock().unwrap().push(bytes);
            Ok(())
        }
        fn status(&self, _digest: &Digest) -> Result<Publication> {
            self.asked.lock().unwrap().push(Instant::now());
            let mut answers = self.answers.lock().unwrap();
            Ok(if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() })
        }
    }

    fn layer() -> PackedLayer {
        PackedLayer::pack(&std::env::temp_dir(), |out| {
            out.write_all(b"a layer").map_err(|e| Error::new(ErrorKind::Io, "").caused_by(e))
        })
        .unwrap()
    }

    fn away() -> Publication {
        Publication::NoAnswer("the publisher is away".to_owned())
    }

    #[test]
    fn a_layer_is_sent_and_waited_for() {
        // CVM-21, CVM-22
        let layer = layer();
        let taker = Taker::new(&[Unknown, Publishing, Publishing, Done]);
        let published = publish(&layer, &taker, &NOW, &Silent).unwrap();
        assert_eq!(published.digest, *layer.digest());
        assert_eq!(
            published.url.unwrap().to_string(),
            format!("cvmfs://r.example/layers/{}", layer.digest().hex())
        );
        let taken = taker.taken.lock().unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!(Digest::sha256(&taken[0]), *layer.digest());
    }

    #[test]
    fn what_is_there_or_on_its_way_is_not_sent() {
        // CVM-21: an attempt goes on from a former one
        for answers in [&[Done][..], &[Publishing, Publishing, Done]] {
            let (outcome, sent) = Taker::new(answers).publish();
            assert!(outcome.is_ok() && sent == 0, "{answers:?}");
        }
        // Who publishes has lost it on the way: once more.
        let (outcome, sent) = Taker::new(&[Publishing, Unknown, Publishing, Done]).publish();
        assert!(outcome.is_ok() && sent == 1);
        // He is away, and the bucket has it. If it turns out that he never heard of it, that helps him to.
        let taker = Taker { holds: true, ..Taker::new(&[away(), away(), Done]) };
        assert_eq!(taker.publish().1, 0);
        let taker = Taker { holds: true, ..Taker::new(&[away(), away(), Unknown, Done]) };
        assert_eq!(taker.publish().1, 1);
        let (outcome, sent) = Taker::new(&[away(), away(), Done]).publish();
        assert!(outcome.is_ok() && sent == 1, "and the bucket does not have it");
    }

    #[test]
    fn questions_that_are_not_answered_are_asked_again_for_a_while() {
        // CVM-21, 18.3
        let answers = [Unknown, away(), Publishing, away(), away(), Unknown, Unknown, Done];
        let taker = Taker::new(&answers);
        let (outcome, sent) = taker.publish();
        assert!(outcome.is_ok() && sent == 1);
        assert_eq!(taker.asked.lock().unwrap().len(), answers.len());

        for (last, says) in [(away(), "the publisher is away"), (Unknown, "knows nothing of it")] {
            let taker = Taker::new(&[Unknown, last]);
            let begun = Instant::now();
            let (outcome, sent) = taker.publish();
            let e = outcome.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Io);
            assert!(e.to_string().contains(says), "{e}");
            assert!(e.to_string().contains("trying again goes on from it"), "{e}");
            assert_eq!(sent, 1);
            assert!(begun.elapsed() >= NOW.outage);
            // 1, 2, 4 … milliseconds: not a question each one.
            let asked = taker.asked.lock().unwrap();
            assert!((3..=12).contains(&asked.len()), "{}", asked.len());
        }
    }

    #[test]
    fn the_whole_has_a_limit_and_can_be_called_off() {
        // CVM-21
        let short = Patience { limit: Duration::ZERO, ..NOW };
        let e = publish(&layer(), &Taker::new(&[Publishing]), &short, &Silent).unwrap_err();
        assert!(e.to_string().contains("not published after 0 s"), "{e}");
        let e = publish(&layer(), &Taker::new(&[away()]), &short, &Silent).unwrap_err();
        assert!(e.to_string().contains("0 s; at last: the publisher is away"), "{e}");
        let e = publish(&layer(), &Taker::new(&[Publishing]), &NOW, &Stopped).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
    }

    struct Stopped;

    impl ProgressItem for Stopped {
        fn advance(&self, _bytes: u64) {}
        fn finish(&self, _note: &str) {}
        fn is_cancelled(&self) -> bool {
            true
        }
    }
}
