//! Changes that are asked for under a key are made once (reliability case T4): the answer of one that was made is kept with what it
//! changed, in one group of records, and given again to whoever sends the same request under the same key. So a client whose answer was
//! lost may ask again, through any number of crashes between.
//!
//! The key is the client's, as in the draft for the HTTP header `Idempotency-Key` of the IETF's group for HTTP APIs, and is known only
//! together with the principal who used it. A refusal changes nothing, so it is not kept, and a repetition is judged anew. Answers are kept
//! for [`crate::Settings::idempotency_key_retention`], the newest [`crate::Settings::max_idempotency_keys`] of them at most; later a
//! repetition is a new request. A restoration of a backup brings back no answers and takes none away: what was answered stays answered.
//!
//! Not here: who may ask, and how a key travels.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use model::{Host, MaintenanceMode, UpdateKey};

use crate::command::{Outcome, Reply, ReplyCode};
use crate::core::{Core, ms};
use crate::input::Principal;
use crate::timers::{Timer, TimerKey};
use crate::view::View;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// Answers forgotten in one turn; the rest follows in the next.
const FORGOTTEN_AT_ONCE: usize = 1000;

/// A client's name for one change: 1 to [`MAX_KEY_BYTES`] visible ASCII characters, such as a random UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {MAX_KEY_BYTES} visible ASCII characters, such as a random UUID")]
pub struct BadKey;

impl FromStr for IdempotencyKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let is_key = (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key { Ok(Self(text.into())) } else { Err(BadKey) }
    }
}

/// By what a repetition of a request is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's name for the change.
    pub key: IdempotencyKey,
    /// Of everything that was asked; the same for the same request, whatever version of this program reads it.
    pub fingerprint: [u8; 16],
}

/// Whose key it is, and which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnswerKey {
    /// Name of the principal.
    pub principal: Arc<str>,
    /// Their key.
    pub key: IdempotencyKey,
}

impl AnswerKey {
    fn new(principal: &Principal, key: &IdempotencyKey) -> Self {
        Self { principal: principal.name.as_str().into(), key: key.clone() }
    }
}

/// What a kept answer carries besides its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptOutcome {
    /// As [`Outcome::None`].
    None,
    /// As [`Outcome::Tasks`].
    Tasks(u32),
    /// As [`Outcome::Hosts`].
    Hosts(Vec<(Host, MaintenanceMode)>),
    /// Which update was started; told as it is when it is asked for.
    Update(Box<UpdateKey>),
    /// As [`Outcome::Pulse`].
    Pulse {
        /// As there.
        active: bool,
    },
}

/// The answer of a change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Counts the answers, in order of their keeping: the oldest has the least.
    pub number: u64,
    /// Of the request.
    pub fingerprint: [u8; 16],
    /// When it was made, in ms since the epoch.
    pub answered_ms: i64,
    /// For people.
    pub messages: Vec<String>,
    /// What came of it.
    pub outcome: KeptOutcome,
}

impl KeptAnswer {
    /// The reply as it was; an update is told as it is now. One that has been forgotten since is not known well enough to be told.
    fn reply(&self, view: &View) -> Reply {
        let outcome = match &self.outcome {
            KeptOutcome::None => Outcome::None,
            KeptOutcome::Tasks(count) => Outcome::Tasks(*count),
            KeptOutcome::Hosts(hosts) => Outcome::Hosts(hosts.clone()),
            KeptOutcome::Pulse { active } => Outcome::Pulse { active: *active },
            KeptOutcome::Update(key) => match view.updates.get(&**key) {
                Some(update) => Outcome::Update(Box::new(model::update::Update::clone(update))),
                None => {
                    let sentence = format!(
                        "This request started update {} of {} before; the update has ended and is not in the history any more.",
                        key.id, key.job
                    );
                    return Reply::refused(ReplyCode::InvalidRequest, sentence);
                }
            },
        };
        Reply { code: ReplyCode::Ok, messages: self.messages.clone(), outcome }
    }
}

/// Until when answers are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forgetting {
    /// By the number of the answer, on the monotonic clock. A wall clock that is set meanwhile shortens or prolongs nothing.
    kept_until_ms: BTreeMap<u64, u64>,
    timer: Option<TimerKey>,
}

impl Core {
    /// The answer to a request that was carried out before, or the refusal of one that is not the one its key names. `None` for a new one.
    pub(crate) fn answered_before(&self, principal: &Principal, idempotency: &Idempotency) -> Option<Reply> {
        let kept = self.store.view.answers.get(&AnswerKey::new(principal, &idempotency.key))?;
        if kept.fingerprint == idempotency.fingerprint {
            return Some(kept.reply(&self.store.view));
        }
        let sentence = format!(
            "The idempotency key {} was used for another request before; nothing was changed. Give each request a key of its own.",
            idempotency.key
        );
        Some(Reply { outcome: Outcome::KeyOfAnother, ..Reply::refused(ReplyCode::InvalidRequest, sentence) })
    }

    /// Keeps the answer of a change that was made.
    pub(crate) fn keep_answer(&mut self, principal: &Principal, idempotency: Idempotency, reply: &Reply) {
        let most = self.settings.max_idempotency_keys;
        if reply.code != ReplyCode::Ok || most == 0 {
            return;
        }
        let outcome = match &reply.outcome {
            Outcome::None | Outcome::KeyOfAnother => KeptOutcome::None,
            Outcome::Tasks(count) => KeptOutcome::Tasks(*count),
            Outcome::Hosts(hosts) => KeptOutcome::Hosts(hosts.clone()),
            Outcome::Update(update) => KeptOutcome::Update(Box::new(update.key.clone())),
            Outcome::Pulse { active } => KeptOutcome::Pulse { active: *active },
        };
        while self.store.kept_answers() >= most {
            self.forget_oldest_answer();
        }
        let key = AnswerKey::new(principal, &idempotency.key);
        let (fingerprint, answered_ms) = (idempotency.fingerprint, self.now.wall_ms);
        let number = self.store.keep_answer(key, fingerprint, answered_ms, reply.messages.clone(), outcome);
        let retention_ms = ms(self.settings.idempotency_key_retention);
        self.forgetting.kept_until_ms.insert(number, self.now.monotonic_ms.saturating_add(retention_ms));
        self.arm_forgetting();
    }

    /// Says until when each stored answer is kept, after a start.
    pub(crate) fn resume_forgetting(&mut self) {
        let retention_ms = ms(self.settings.idempotency_key_retention);
        let view = &self.store.view;
        let until = |kept: &Arc<KeptAnswer>| {
            let left_ms = self.remaining_ms(kept.answered_ms, retention_ms);
            (kept.number, self.now.monotonic_ms.saturating_add(left_ms))
        };
        self.forgetting.kept_until_ms = view.answers.values().map(until).collect();
        self.arm_forgetting();
    }

    /// Waits for the oldest answer to have been kept for long enough.
    fn arm_forgetting(&mut self) {
        if let (None, Some((_, until_ms))) = (self.forgetting.timer, self.forgetting.kept_until_ms.first_key_value()) {
            self.forgetting.timer = Some(self.timers.arm(*until_ms, Timer::ForgetAnswers));
        }
    }

    /// The oldest answers may have been kept for long enough.
    pub(crate) fn forget_answers(&mut self) {
        self.forgetting.timer = None;
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.forgetting.kept_until_ms.first_key_value() {
                Some((_, until_ms)) if *until_ms <= self.now.monotonic_ms => self.forget_oldest_answer(),
                _ => break,
            }
        }
        self.arm_forgetting();
    }

    fn forget_oldest_answer(&mut self) {
        self.forgetting.kept_until_ms.pop_first();
        self.store.forget_oldest_answer();
    }

    /// Answers are listed by number as they are stored, no more of them than may be, and somebody will look at the oldest.
    pub(crate) fn verify_answers(&self) -> Result<(), String> {
        self.store.verify_answers()?;
        let count = self.store.kept_answers();
        if count > self.settings.max_idempotency_keys {
            return Err(format!("{count} answers are kept, more than may be"));
        }
        if count != self.forgetting.kept_until_ms.len() || (count > 0 && self.forgetting.timer.is_none()) {
            return Err("an answer is kept for ever".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_visible_ascii() {
        let longest = "x".repeat(MAX_KEY_BYTES);
        for good in ["a", "2f1c3c0e-8e0b-4a3e-9d6e-0c6f4c8f5b11", "\"quoted\"", longest.as_str()] {
            assert_eq!(good.parse::<IdempotencyKey>().unwrap().as_str(), good);
        }
        let too_long = "x".repeat(MAX_KEY_BYTES + 1);
        for bad in ["", " ", "a b", "a\0", "ä", "a\n", too_long.as_str()] {
            assert_eq!(bad.parse::<IdempotencyKey>(), Err(BadKey), "{bad:?}");
        }
    }
}
