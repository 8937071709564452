//! The daemon: the node plus threads, sockets and configuration. No scheduling rules, no HTML.
