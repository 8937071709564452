//! Which instances an update takes next (spec scheduler 3.4).

use model::update::UpdateStrategy;

/// How far an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Instances of the update.
    pub(crate) total: usize,
    /// Not taken yet.
    pub(crate) idle: usize,
    /// Taken and not done.
    pub(crate) in_flight: usize,
    /// Rolling forward, not back.
    pub(crate) forward: bool,
}

/// How many of the idle instances are taken now.
pub(crate) fn next_group_size(strategy: &UpdateStrategy, progress: Progress) -> usize {
    let size = match strategy {
        UpdateStrategy::Queue { group_size } => to_size(*group_size).saturating_sub(progress.in_flight),
        _ if progress.in_flight > 0 => 0,
        UpdateStrategy::Batch { group_size, .. } => to_size(*group_size),
        UpdateStrategy::VariableBatch { group_sizes, .. } if progress.forward => forward_size(group_sizes, progress),
        UpdateStrategy::VariableBatch { group_sizes, .. } => backward_size(group_sizes, progress),
    };
    size.min(progress.idle)
}

fn to_size(size: i32) -> usize {
    usize::try_from(size).unwrap_or(0)
}

/// The first size whose running sum is beyond what was taken already; past the end the last one repeats.
fn forward_size(sizes: &[i32], progress: Progress) -> usize {
    let taken = progress.total - progress.idle;
    let mut sum = 0;
    for size in sizes {
        sum += to_size(*size);
        if sum > taken {
            return to_size(*size);
        }
    }
    sizes.last().map_or(0, |size| to_size(*size))
}

/// Mirrors [`forward_size`], so that batches are undone in the sizes in which they were done.
fn backward_size(sizes: &[i32], progress: Progress) -> usize {
    let mut remaining = progress.idle;
    for size in sizes.iter().map(|size| to_size(*size)) {
        if remaining <= size {
            return remaining;
        }
        remaining -= size;
    }
    let last = sizes.last().map_or(0, |size| to_size(*size));
    match remaining.checked_rem(last) {
        None | Some(0) => last,
        Some(rest) => rest,
    }
}

/// The sizes that a strategy names.
pub(crate) fn group_sizes(strategy: &UpdateStrategy) -> &[i32] {
    match strategy {
        UpdateStrategy::Queue { group_size } | UpdateStrategy::Batch { group_size, .. } => {
            std::slice::from_ref(group_size)
        }
        UpdateStrategy::VariableBatch { group_sizes, .. } => group_sizes,
    }
}

/// Whether the update pauses by itself after each batch.
pub(crate) fn pauses_itself(strategy: &UpdateStrategy) -> bool {
    match strategy {
        UpdateStrategy::Queue { .. } => false,
        UpdateStrategy::Batch { autopause_after_batch, .. }
        | UpdateStrategy::VariableBatch { autopause_after_batch, .. } => *autopause_after_batch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of the groups when each is done before the next is taken.
    fn groups(strategy: &UpdateStrategy, total: usize, forward: bool) -> Vec<usize> {
        let mut idle = total;
        let mut sizes = Vec::new();
        while idle > 0 {
            let size = next_group_size(strategy, Progress { total, idle, in_flight: 0, forward });
            assert!(size > 0);
            sizes.push(size);
            idle -= size;
        }
        sizes
    }

    #[test]
    fn a_queue_fills_up_what_is_free() {
        let queue = UpdateStrategy::Queue { group_size: 3 };
        let size = |idle, in_flight| next_group_size(&queue, Progress { total: 10, idle, in_flight, forward: true });
        assert_eq!([size(10, 0), size(7, 2), size(7, 3), size(1, 0), size(0, 0)], [3, 1, 0, 1, 0]);
    }

    #[test]
    fn a_batch_waits_for_the_one_before() {
        let batch = UpdateStrategy::Batch { group_size: 3, autopause_after_batch: false };
        assert_eq!(next_group_size(&batch, Progress { total: 9, idle: 6, in_flight: 1, forward: true }), 0);
        assert_eq!(groups(&batch, 8, true), [3, 3, 2]);
    }

    #[test]
    fn variable_batches_grow_repeat_the_last_size_and_are_undone_mirrored() {
        let batches =
            |sizes: &[i32]| UpdateStrategy::VariableBatch { group_sizes: sizes.to_vec(), autopause_after_batch: false };
        assert_eq!(groups(&batches(&[1, 2, 3]), 10, true), [1, 2, 3, 3, 1]);
        assert_eq!(groups(&batches(&[1, 2, 3]), 10, false), [1, 3, 3, 2, 1]);
        assert_eq!(groups(&batches(&[1, 2, 3]), 6, false), [3, 2, 1]);
        assert_eq!(groups(&batches(&[5]), 3, true), [3]);
    }
}
