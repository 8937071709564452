//! Evaluation of job files into the model. No network.
