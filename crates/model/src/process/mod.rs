//! The process schema of a task, the planner that says which process may run next, and late templates. No processes are started here.
