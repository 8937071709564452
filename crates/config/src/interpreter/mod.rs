//! The embedded Python interpreter: starts it with our modules frozen in, runs one job file, and gives back what came of it.
//!
//! Meant for the evaluation process only: one interpreter, one file, one outcome.

mod division;
mod hooks;
mod native;
mod outcome;

pub(crate) use outcome::{Outcome, RawFailure};

use std::io::BufReader;
use std::os::unix::net::UnixStream;

use rustpython_vm::{Interpreter, Settings};

/// Our own Python modules as bytecode.
const OWN_MODULES: &rustpython_vm::frozen::FrozenLib = rustpython_vm::py_freeze!(dir = "python");

/// Runs the job file at `path`. `arguments` is what the file sees as `sys.argv`.
pub(crate) fn run(path: &str, arguments: &[String]) -> Outcome {
    call_module("jobfile", "evaluate", path.to_owned(), arguments);
    outcome::take()
}

/// Evaluates the job file that `opening` names and runs its hooks as asked on the line, until that ends.
pub(crate) fn run_hooks(arguments: &[String], opening: String, reader: BufReader<UnixStream>, writer: UnixStream) {
    hooks::open(reader, writer);
    call_module("jobfile_hooks", "serve", opening, arguments);
}

/// Calls a function of one of our modules with a text, in a new interpreter.
fn call_module(module: &'static str, function: &'static str, text: String, arguments: &[String]) {
    let mut settings = Settings::default();
    settings.isolated = true;
    settings.ignore_environment = true;
    settings.import_site = false;
    settings.user_site_directory = false;
    settings.safe_path = true;
    settings.install_signal_handlers = false;
    settings.write_bytecode = false;
    // The same file gives the same result whatever the user's locale is.
    settings.utf8_mode = 1;
    settings.stdio_encoding = Some("utf-8".to_owned());
    settings.stdio_errors = Some("backslashreplace".to_owned());
    settings.argv = arguments.to_vec();
    let builder = Interpreter::builder(settings);
    let library = rustpython_stdlib::stdlib_module_defs(&builder.ctx);
    let native = native::module_def(&builder.ctx);
    let hooks = hooks::module_def(&builder.ctx);
    let interpreter = builder
        .add_native_modules(&library)
        .add_native_module(native)
        .add_native_module(hooks)
        .add_frozen_modules(rustpython_pylib::FROZEN_STDLIB)
        .add_frozen_modules(OWN_MODULES)
        .build();
    interpreter.enter(|vm| {
        let result = vm.import(module, 0).and_then(|module| module.get_attr(function, vm)?.call((text,), vm));
        if let Err(error) = result {
            let mut shown = String::new();
            let _ = vm.write_exception(&mut shown, &error);
            eprintln!("{shown}");
        }
    });
}
