//! Updates that the scheduler was told and has not answered yet. An agent that waits for an answer sends its update again; while the
//! scheduler is busy, a second copy would only keep it busier, so it is left out. One that is not answered in time is told again.

use std::collections::HashMap;
use std::time::Duration;

use engine::StatusToken;
use model::TaskId;
use tokio::time::Instant;

/// An update that was not answered for so long is told again: whatever became of the first copy, none is lost.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Updates under way to the scheduler, or whose answer is under way from it.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    told: HashMap<StatusToken, (TaskId, Instant)>,
}

impl Telling {
    /// Notes that an update is told now; false when a copy of it was told just before.
    pub(crate) fn begin(&mut self, task_id: &TaskId, token: &StatusToken, now: Instant) -> bool {
        if let Some((task, since)) = self.told.get(token)
            && task == task_id
            && now.duration_since(*since) < FORGOTTEN
        {
            return false;
        }
        self.told.insert(token.clone(), (task_id.clone(), now));
        true
    }

    /// The answer leaves: the next copy is one that the answer did not reach.
    pub(crate) fn end(&mut self, token: &StatusToken) {
        self.told.remove(token);
        if self.told.is_empty() && self.told.capacity() > 1 << 16 {
            self.told = HashMap::new();
        }
    }

    /// Answers that were under way are lost with the subscription.
    pub(crate) fn clear(&mut self) {
        self.told = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_left_out_until_the_answer_leaves_or_too_much_time_has_passed() {
        let (mut telling, now) = (Telling::default(), Instant::now());
        let (task, token) = (TaskId("t".into()), StatusToken(vec![1; 20]));
        assert!(telling.begin(&task, &token, now));
        assert!(!telling.begin(&task, &token, now + Duration::from_secs(10)));
        assert!(telling.begin(&task, &StatusToken(vec![2; 20]), now), "another update");
        assert!(telling.begin(&task, &token, now + FORGOTTEN));
        telling.end(&token);
        assert!(telling.begin(&task, &token, now + FORGOTTEN), "the answer was lost on its way");
        telling.clear();
        assert!(telling.begin(&task, &token, now + FORGOTTEN), "lost with the subscription");
    }

    #[test]
    fn the_id_of_an_update_counts_for_its_task_only() {
        let (mut telling, now, token) = (Telling::default(), Instant::now(), StatusToken(vec![1; 20]));
        assert!(telling.begin(&TaskId("a".into()), &token, now));
        assert!(telling.begin(&TaskId("b".into()), &token, now));
    }
}
