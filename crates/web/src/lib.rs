//! Pages for people: server-rendered, with live updates. No wire formats for programs.
