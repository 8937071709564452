//! The only door to the loop: submit, view, follow; authorises every command. No wire formats.
