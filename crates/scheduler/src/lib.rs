//! The deterministic core: inputs in, records and effects out. No IO, clocks, threads or async.
