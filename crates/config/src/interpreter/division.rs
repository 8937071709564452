//! Divisions of whole numbers, which give fractions in Python 3 and did not in Python 2: nothing fails, but a text made with the result
//! is another one. Each is told to the author of the job file it stands in.

use std::cell::Cell;

use rustpython_vm::builtins::PyInt;
use rustpython_vm::protocol::PyNumberBinaryFunc;
use rustpython_vm::{PyObject, PyResult, VirtualMachine};

use super::outcome;

thread_local! {
    static ORIGINAL: Cell<Option<PyNumberBinaryFunc>> = const { Cell::new(None) };
}

/// From now on divisions of whole numbers by job files are noted.
pub(super) fn watch(vm: &VirtualMachine) {
    if ORIGINAL.get().is_none() {
        let numbers = &vm.ctx.types.int_type.slots.as_number;
        ORIGINAL.set(numbers.true_divide.load());
        numbers.true_divide.store(Some(divide));
    }
}

fn divide(first: &PyObject, second: &PyObject, vm: &VirtualMachine) -> PyResult {
    let Some(original) = ORIGINAL.get() else { return Ok(vm.ctx.not_implemented()) };
    let result = original(first, second, vm)?;
    if let (Some(a), Some(b)) = (first.downcast_ref::<PyInt>(), second.downcast_ref::<PyInt>())
        && let Some(frame) = vm.current_frame()
    {
        outcome::note_division(frame.code.source_path().as_str(), frame.f_lineno(), || {
            let text = |value: PyResult| match value.and_then(|value| value.repr(vm)) {
                Ok(text) => text.to_string_lossy().into_owned(),
                Err(_) => "another number".to_owned(),
            };
            let (shown, whole) = (text(Ok(result.clone())), text(vm._floordiv(first, second)));
            let (a, b) = (a.as_bigint(), b.as_bigint());
            format!(
                "{a} / {b} is {shown} in Python 3 and was {whole} in Python 2; write // where a whole number is meant, or put \
                 'from __future__ import division' at the top of the file"
            )
        });
    }
    Ok(result)
}
