//! The table of kept answers.

use std::sync::Arc;

use super::Store;
use crate::idempotency::{AnswerKey, KeptAnswer, KeptOutcome};
use crate::record::answers::{answer_key_bytes, answer_key_of, answer_message, answer_of};
use crate::record::{self, Record};
use crate::view::View;

/// The table of a frozen view.
pub(super) fn records(view: &View) -> impl Iterator<Item = Record> + Send + use<> {
    view.answers.clone().into_iter().map(|(key, kept)| answer_record(&key, &kept))
}

fn answer_record(key: &AnswerKey, kept: &KeptAnswer) -> Record {
    Record::put(record::TABLE_ANSWERS, answer_key_bytes(key), &answer_message(kept))
}

impl Store {
    /// Keeps an answer, and gives its number.
    pub(crate) fn keep_answer(
        &mut self,
        key: AnswerKey,
        fingerprint: [u8; 16],
        answered_ms: i64,
        messages: Vec<String>,
        outcome: KeptOutcome,
    ) -> u64 {
        let number = self.answers_by_number.last_key_value().map_or(0, |(last, _)| last + 1);
        let kept = KeptAnswer { number, fingerprint, answered_ms, messages, outcome };
        self.other_records.push(answer_record(&key, &kept));
        self.place_answer(key, kept);
        number
    }

    fn place_answer(&mut self, key: AnswerKey, kept: KeptAnswer) {
        let number = kept.number;
        if let Some(old) = self.view.answers.insert(key.clone(), Arc::new(kept)) {
            self.answers_by_number.remove(&old.number);
        }
        self.answers_by_number.insert(number, key);
    }

    /// Forgets the answer that was kept first.
    pub(crate) fn forget_oldest_answer(&mut self) {
        if let Some((_, key)) = self.answers_by_number.pop_first() {
            self.other_records.push(Record::delete(record::TABLE_ANSWERS, answer_key_bytes(&key)));
            self.view.answers.remove(&key);
        }
    }

    /// How many answers are kept.
    pub(crate) fn kept_answers(&self) -> usize {
        self.answers_by_number.len()
    }

    /// The answers of another store in place of these.
    pub(super) fn take_answers_of(&mut self, other: &Store) {
        self.view.answers = other.view.answers.clone();
        self.answers_by_number = other.answers_by_number.clone();
    }

    /// Applies a record of the table; none for a key that is malformed.
    pub(super) fn apply_answer(&mut self, key: &[u8], value: Option<&[u8]>) -> Option<Result<(), String>> {
        let key = answer_key_of(key)?;
        Some(match value.map(answer_of).transpose() {
            Ok(Some(kept)) => {
                self.place_answer(key, kept);
                Ok(())
            }
            Ok(None) => {
                if let Some(old) = self.view.answers.remove(&key) {
                    self.answers_by_number.remove(&old.number);
                }
                Ok(())
            }
            Err(reason) => Err(reason),
        })
    }

    /// The list by number names every answer.
    pub(crate) fn verify_answers(&self) -> Result<(), String> {
        let known =
            |(number, key): (&u64, &AnswerKey)| self.view.answers.get(key).is_some_and(|kept| kept.number == *number);
        if self.answers_by_number.len() == self.view.answers.len() && self.answers_by_number.iter().all(known) {
            Ok(())
        } else {
            let (listed, stored) = (self.answers_by_number.len(), self.view.answers.len());
            Err(format!("{listed} answers are listed and {stored} kept"))
        }
    }
}
