//! Storage on disk: append, sync, snapshot, recover. Knows nothing of what records mean.
