//! The two streams of a command: results on stdout, everything else on stderr (spec client-cli 1.1). Not colours or progress bars.
//!
//! Write errors are ignored on purpose: a reader that closes its end (`| head`) ends the output, not the command.

use std::io::Write;

/// Where a command prints.
pub struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    quiet: bool,
}

impl Console {
    /// The process's own streams.
    pub fn standard() -> Self {
        Self { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()), quiet: false }
    }

    /// Other streams, for tests.
    pub fn to(out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self { out, err, quiet: false }
    }

    /// A line of the result.
    pub fn out(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.out, "{}", line.as_ref());
        let _ = self.out.flush();
    }

    /// A line for the person watching.
    pub fn err(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.err, "{}", line.as_ref());
        let _ = self.err.flush();
    }

    /// From now on only what went wrong is logged.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
    }

    /// A log record at level INFO, in the client's classic form.
    pub fn info(&mut self, text: impl AsRef<str>) {
        if !self.quiet {
            self.err(format!(" INFO] {}", text.as_ref()));
        }
    }

    /// A log record at level WARNING.
    pub fn warning(&mut self, text: impl AsRef<str>) {
        self.err(format!(" WARN] {}", text.as_ref()));
    }

    /// Bytes of the result as they are.
    pub fn out_bytes(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes);
        let _ = self.out.flush();
    }

    /// Bytes for the person watching as they are.
    pub fn err_bytes(&mut self, bytes: &[u8]) {
        let _ = self.err.write_all(bytes);
        let _ = self.err.flush();
    }
}
