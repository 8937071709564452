//! What the tests of this crate share: evaluating a text as a job file, in the process meant for it.

use std::fs;
use std::path::PathBuf;

use config::{ConfigError, Evaluation, EvaluationRequest};
use tempfile::TempDir;

/// A folder with job files.
pub struct Files {
    pub folder: TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("a plain path").to_owned()
    }

    /// A request for a file of that text.
    pub fn request(&self, text: &str) -> EvaluationRequest {
        request(&self.write("test.aurora", text))
    }
}

/// A request that starts the test program of this crate as the evaluating process.
pub fn request(path: &str) -> EvaluationRequest {
    let mut request = EvaluationRequest::new(path);
    request.executable = Some(env!("CARGO_BIN_EXE_evaluate-job-file").into());
    request
}

/// Evaluates a text.
pub fn evaluate(text: &str) -> Result<Evaluation, ConfigError> {
    config::evaluate(&Files::new().request(text))
}

/// Evaluates a text that is wrong; the failure as the user sees it, without the folder's name.
pub fn failure(text: &str) -> String {
    let files = Files::new();
    match config::evaluate(&files.request(text)) {
        Ok(evaluation) => panic!("it was accepted: {:?}", evaluation.jobs),
        Err(error) => error.render().replace(&format!("{}/", files.folder.path().display()), ""),
    }
}
